"""Methods of the registry for keep policies."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from artifactstore.arguments import checked
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore_protocols.commands import DeleteKeepPolicy, SetKeepPolicy
from artifactstore_protocols.keep_policies import KeepPolicy, KeepPolicyNotFound, KeepVerdict
from artifactstore_protocols.keep_rules import KeepRules

__all__ = ["KeepPolicyCalls"]


class KeepPolicyCalls(StoreCalls):
    """The methods for keep policies."""

    @checked
    async def set_keep_policy(self, group: str, rules: KeepRules, *, principal: str = DEFAULT_PRINCIPAL) -> KeepPolicy:
        """Set the keep policy of a group, in place of the one before, and return it. The same policy does not change.

        Setting a policy lets no package go; `apply_keep_policies` does.

        Args:
            group: a package name, or a glob of names.
            rules: the rules that keep packages. A package of the group goes if no rule of any policy keeps it.
            principal: the principal.
        """
        command = SetKeepPolicy(group, rules)
        while not (committed := await self._commit(command, principal, None)).events:
            current = await self._keep_policy(group)
            if current is not None and current.rules == rules:
                return current  # otherwise somebody has changed it meanwhile
        [stored] = committed.events
        return KeepPolicy(group, rules, stored.event.principal, stored.event.recorded_at_us, stored.sequence)

    async def _keep_policy(self, group: str) -> KeepPolicy | None:
        return next((each for each in await self._store.keep_policies() if each.group == group), None)

    @checked
    async def get_keep_policy(self, group: str) -> KeepPolicy:
        """Return the keep policy of a group.

        Raises:
            KeepPolicyNotFound: the group has none.
        """
        found = await self._keep_policy(DeleteKeepPolicy(group).group)
        if found is None:
            raise KeepPolicyNotFound(group)
        return found

    @checked
    async def delete_keep_policy(self, group: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Delete the keep policy of a group. Its packages stay.

        Raises:
            KeepPolicyNotFound: the group has none.
        """
        await self._commit(DeleteKeepPolicy(group), principal, None)

    @checked
    async def apply_keep_policies(
        self,
        group: str | None = None,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[KeepVerdict]:
        """Let packages go that no keep policy keeps, also before their retention ends. Yield what policies say of each.

        Yields the packages of each name newest first, once those that go are gone. A package whose name no policy
        matches is not judged. Protected tags, holds and permanent retention always keep a package. The record of each
        package that goes has the rule `policy:GROUP`. A repeated call continues an interrupted one.

        Args:
            group: the group of the policy; None for all policies. Other policies that match a name can keep packages.
            dry_run: only judge, and let nothing go.
            yes_expire: the number of packages that may go even if that is most of them; any other number stops the run.
            principal: the principal.

        Raises:
            KeepPolicyNotFound: the group has no policy.
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            TooMuchExpires: at least 10 packages, and more than half of those of the group, or without a group of the
                store, would go, or not `yes_expire`. If none would go, the number does not matter.
        """
        from artifactstore.keeping_policies import apply_policies  # noqa: PLC0415 - see above

        applied = apply_policies(
            self._store,
            group,
            lambda command: self._commit(command, principal, None),
            dry_run=dry_run,
            confirmed=yes_expire,
        )
        async with aclosing(applied) as verdicts:
            async for each in verdicts:
                yield each

    @checked
    async def list_keep_policies(self) -> AsyncGenerator[KeepPolicy]:
        """Yield every keep policy in the order of the groups."""
        for each in await self._store.keep_policies():
            yield each
