"""The client of a service with TLS: the authorities of the system decide, as they do for other programs."""

from pathlib import Path

import pytest
import trio
import trustme

from artifactstore import Settings
from artifactstore.client import ServiceNotReached, connect
from artifactstore.http.listening import Listening
from integration.http.serving import GUARD_S, serving

pytestmark = pytest.mark.slow


async def test_a_certificate_must_be_of_an_authority_that_the_system_knows(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "known.pem"))
    listening = Listening("127.0.0.1:0", certfile=tmp_path / "chain.pem", keyfile=tmp_path / "key.pem")
    with trio.fail_after(GUARD_S):
        async with serving(settings, listening) as service:
            secret = str(await service.registry.create_token("reader", scopes=("read",)))
            url = f"https://localhost:{service.url.rpartition(':')[2]}"
            async with connect(url, secret) as remote:
                with pytest.raises(ServiceNotReached, match="certificate"):
                    await remote.check_connection()
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "known.pem"))
            async with connect(url, secret) as remote:
                await remote.check_connection()
