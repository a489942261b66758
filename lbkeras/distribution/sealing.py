"""The messages of workers that meet: each proves that its sender has the shared token."""

import hmac
import json

from lbkeras.distribution.line import parsed

PROTOCOL = "lbkeras workers 2"


class OtherToken(Exception):
    pass


def sealed(key: bytes, by: str, nonce: str, message: dict) -> dict:
    """Returns a message with the proof that its sender `by`, "worker" or "chief", has the key."""
    said = json.dumps(message)
    return {"said": said, "proof": _proof(key, by, nonce, said)}


def opened(key: bytes, by: str, nonce: str, message: dict) -> dict | None:
    """Returns the message that `sealed` packed; None if there is none.

    Raises:
        OtherToken: it was sealed with another key, or the other side refused ours.
    """
    if "refused" in message:
        raise OtherToken
    said, proof = message.get("said"), message.get("proof")
    if type(said) is not str or type(proof) is not str or not proof.isascii():
        return None
    if not hmac.compare_digest(proof, _proof(key, by, nonce, said)):
        raise OtherToken
    return parsed(said)


def _proof(key: bytes, by: str, nonce: str, said: str) -> str:
    text = "\n".join([PROTOCOL, by, nonce, said])
    return hmac.new(key, text.encode(errors="surrogatepass"), "sha256").hexdigest()
