"""Certificates for servers under test."""

from pathlib import Path

import trustme


def make_certificate(folder: Path) -> None:
    """Write ``cert.pem``, ``key.pem``, and ``ca.pem`` of their own authority, for 127.0.0.1 and localhost."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
