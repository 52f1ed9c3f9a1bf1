import hashlib

import msgspec

from quarry_common.contracts.documents import BlobRef, DocumentFields

_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(fields: DocumentFields, blob: BlobRef | None) -> bytes:
    """Return a digest of all that a version says: equal ones need no indexing again."""
    content = (blob.sha256, blob.size_bytes, blob.file_name, blob.declared_type) if blob else None
    return hashlib.sha256(_encode((fields, content))).digest()
