"""What the indexer knows of documents and collections."""

from uuid import UUID

import msgspec

from quarry_common.contracts import (
    collections,
    replaying,
)
from quarry_common.contracts import documents as docs
from quarry_common.contracts import jobs as work
from quarry_common.errors import (
    ConflictError,
    NotFoundError,
    PreconditionFailedError,
    QuarryError,
    error_data,
)
from quarry_common.ids import document_id_for, new_id

from .answers import NOW, Answers


class Documents:
    """Documents, as they are accepted, read and changed."""

    jobs: dict[tuple[UUID, UUID], work.JobDetail]
    """Those of `Jobs`: what is accepted begins one."""

    def __init__(self) -> None:
        self.accepted: list[docs.Accept] = []
        self.batches: list[docs.AcceptBatch] = []
        self.documents: dict[tuple[UUID, UUID], docs.Document] = {}
        self.contents: dict[UUID, str] = {}
        """Where the text of each document is, in the blob store."""
        self.chunks: list[docs.Chunk] = []
        self.collections: dict[tuple[UUID, str], collections.Collection] = {}
        self.refuse_accept: QuarryError | None = None
        self.refuse_batch: dict[int, QuarryError] = {}
        """What a part of a batch ends with, by how many parts came before."""
        self.refuse_titles: dict[str, QuarryError] = {}
        """What a document of a batch is refused with, by its title."""

    def answers(self) -> Answers:
        return [
            (docs.ACCEPT, self.accept),
            (docs.ACCEPT_BATCH, self.accept_batch),
            (docs.GET_DOCUMENT, self.get_document),
            (docs.LIST_DOCUMENTS, self.list_documents),
            (docs.PATCH_DOCUMENT, self.patch_document),
            (docs.DELETE_DOCUMENT, self.delete_document),
            (docs.GET_CONTENT, self.get_content),
            (docs.LIST_CHUNKS, self.list_chunks),
            (docs.REINDEX, self.reindex),
            (docs.INSPECT_INDEX, self.inspect_index),
            (replaying.replay_of(replaying.OutboxService.INDEXER), self.replay_events),
            (collections.CREATE_COLLECTION, self.create_collection),
            (collections.GET_COLLECTION, self.get_collection),
            (collections.LIST_COLLECTIONS, self.list_collections),
            (collections.UPDATE_COLLECTION, self.update_collection),
            (collections.DELETE_COLLECTION, self.delete_collection),
        ]

    async def accept(self, asked: docs.Accept) -> docs.Accepted:
        if self.refuse_accept is not None:
            raise self.refuse_accept
        self.accepted.append(asked)
        return self._take(asked.tenant_id, asked.document, asked.blob, asked.condition)

    async def accept_batch(self, asked: docs.AcceptBatch) -> docs.AcceptedBatch:
        refusal = self.refuse_batch.get(len(self.batches))
        self.batches.append(asked)
        if refusal is not None:
            raise refusal
        return docs.AcceptedBatch([self._take_item(asked.tenant_id, item) for item in asked.items])

    def _take_item(self, tenant_id: UUID, item: docs.BatchItem) -> docs.BatchResult:
        refusal = self.refuse_titles.get(item.document.title)
        if refusal is not None:
            return docs.BatchResult(error=error_data(refusal))
        return docs.BatchResult(accepted=self._take(tenant_id, item.document, item.blob, None))

    def _take(
        self,
        tenant_id: UUID,
        fields: docs.DocumentFields,
        blob: docs.BlobRef | None,
        condition: docs.Condition | None,
    ) -> docs.Accepted:
        external_id = fields.external_id
        document_id = document_id_for(tenant_id, fields.collection, external_id) if external_id else new_id()
        before = self.documents.get((tenant_id, document_id))
        self._require(before, condition)
        size_bytes = blob.size_bytes if blob else 0
        unchanged = before is not None and before.size_bytes == size_bytes
        revision = (before.revision if before else 0) + (not unchanged)
        job = work.JobDetail(
            id=new_id(), document_id=document_id, collection=fields.collection, title=fields.title, version=1,
            state=work.JobState.QUEUED, stage=None, chunks_done=0, chunks_total=None, attempt=0,
            revision=1, created_at=NOW, queue_position=3, log=[work.LogLine(NOW, 1, "It was queued.")],
        )  # fmt: skip
        self.jobs[tenant_id, job.id] = job
        self.documents[tenant_id, document_id] = docs.Document(
            id=document_id,
            status=docs.DocumentStatus.PENDING,
            version=None,
            latest_version=1,
            revision=revision,
            file_name=blob.file_name if blob else "",
            size_bytes=size_bytes,
            chunk_count=0,
            created_at=NOW,
            updated_at=NOW,
            **msgspec.structs.asdict(fields),
        )
        return docs.Accepted(document_id, job.id, 1, unchanged, revision)

    @staticmethod
    def _require(document: docs.Document | None, condition: docs.Condition | None) -> None:
        if condition is None:
            return
        wanted = condition.revisions
        fine = (
            document is None
            if condition.missing
            else document is not None and (wanted is None or document.revision in wanted)
        )
        if not fine:
            raise PreconditionFailedError("The document is at another revision.")

    def _document(self, asked: docs.DocumentRef) -> docs.Document:
        document_id = asked.document_id
        if document_id is None and asked.collection is not None and asked.external_id is not None:
            document_id = document_id_for(asked.tenant_id, asked.collection, asked.external_id)
        found = self.documents.get((asked.tenant_id, document_id or new_id()))
        if found is None:
            raise NotFoundError("There is no such document.")
        return found

    async def get_document(self, asked: docs.DocumentRef) -> docs.Document:
        return self._document(asked)

    async def list_documents(self, asked: docs.ListDocuments) -> docs.DocumentPage:
        found = [item for (tenant_id, _), item in self.documents.items() if tenant_id == asked.tenant_id]
        return docs.DocumentPage(found[: asked.limit], "more" if len(found) > asked.limit else None)

    async def patch_document(self, asked: docs.PatchDocument) -> docs.Document:
        found = self._document(asked)
        self._require(found, asked.condition)
        changed = msgspec.structs.replace(found, revision=found.revision + 1)
        self.documents[asked.tenant_id, found.id] = changed
        return changed

    async def delete_document(self, asked: docs.DeleteDocument) -> docs.Deleted:
        found = self._document(asked)
        self._require(found, asked.condition)
        del self.documents[asked.tenant_id, found.id]
        return docs.Deleted(found.id)

    async def get_content(self, asked: docs.DocumentRef) -> docs.Content:
        return docs.Content(self.contents[self._document(asked).id], 1, 1)

    async def list_chunks(self, asked: docs.ListChunks) -> docs.ChunkPage:
        found = self._document(asked)
        return docs.ChunkPage(found.id, 1, self.chunks[: asked.limit], asked.cursor)

    async def reindex(self, asked: docs.Reindex) -> docs.Reindexing:
        return docs.Reindexing(7, "more")

    async def inspect_index(self, asked: docs.InspectIndex) -> docs.IndexReport:
        return docs.IndexReport(1, 2, 3, 4, 5, 6, 7, asked.repair)

    async def replay_events(self, asked: replaying.ReplayEvents) -> replaying.EventsReplayed:
        return replaying.EventsReplayed(7)

    async def create_collection(self, asked: collections.CreateCollection) -> collections.Collection:
        if (asked.tenant_id, asked.name) in self.collections:
            raise ConflictError("The name is taken.")
        made = collections.Collection(new_id(), asked.name, "minilm", 0, 0, NOW, asked.settings, 3)
        return self.collections.setdefault((asked.tenant_id, asked.name), made)

    async def get_collection(self, asked: collections.CollectionRef) -> collections.Collection:
        found = self.collections.get((asked.tenant_id, asked.name))
        if found is None:
            raise NotFoundError("There is no such collection.")
        return found

    async def list_collections(self, asked: collections.ListCollections) -> collections.CollectionPage:
        found = [item for (tenant_id, _), item in self.collections.items() if tenant_id == asked.tenant_id]
        return collections.CollectionPage(found[: asked.limit])

    async def update_collection(self, asked: collections.UpdateCollection) -> collections.Collection:
        return await self.get_collection(collections.CollectionRef(asked.tenant_id, asked.name))

    async def delete_collection(self, asked: collections.CollectionRef) -> collections.CollectionDeleted:
        await self.get_collection(asked)
        del self.collections[asked.tenant_id, asked.name]
        return collections.CollectionDeleted(asked.name, 0)
