"""The pure half of the actor runtime: messages, policies, decisions and snapshots; knows nothing of artifacts."""
