"""Clients over clients: each adds one thing to every call and leaves the rest to the client inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyoperator.client._client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Unpack

    from pyoperator.client._lists import ObjectList, Watch
    from pyoperator.client._options import DeleteOptions, FieldValidation, LabelSelector, WriteOptions
    from pyoperator.client._patches import Patch
    from pyoperator.client._reader import Key
    from pyoperator.client._streams import ObjectStream
    from pyoperator.client._transport import Query

T = TypeVar("T")
Declared = TypeVar("Declared")


def signature_of(declared: Declared) -> Callable[[Callable[..., Any]], Declared]:
    """Give a method the type of another one, all of its overloads, without repeating them.

    For clients over clients: ``@signature_of(Client.get)`` above a ``get`` that takes and returns Any keeps
    ``client.get(Postgres, key)`` a Postgres. Nothing happens at run time.
    """

    def declare(method: Callable[..., Any]) -> Declared:
        return cast("Declared", method)

    return declare


class DelegatingClient(Client):
    """Hand every verb to another client: the start for clients that change one thing about it.

    ``_write`` and ``_deletion`` may change the options of writes and deletes, ``_namespace`` the namespace of lists
    and watches. Helpers (``create_or_patch``, ``patch_from``, ...) are inherited and pass through the verbs here.
    """

    def __init__(self, inner: Client) -> None:
        super().__init__(
            inner.transport,
            scheme=inner.scheme,
            field_manager=inner.field_manager,
            clock=inner.clock,
            random=inner.random,
            namespace=inner.namespace,
            retry_policy=inner.retry_policy,
            rest_mapper=inner.rest_mapper,
        )
        self.inner = inner

    def _write(self, options: WriteOptions) -> WriteOptions:
        return options

    def _deletion(self, options: DeleteOptions) -> DeleteOptions:
        return options

    def _namespace(self, namespace: str) -> str:
        return namespace

    def _write_query(self, options: WriteOptions) -> Query:
        return self.inner._write_query(self._write(options))

    async def _full_key(self, kind: Any, key: Key | None) -> Key | None:
        return None if key is None else self.complete_key(await self.resource(kind), key)

    @signature_of(Client.get)
    async def get(self, kind: Any, key: Key, **options: Any) -> Any:
        return await self.inner.get(kind, self.complete_key(await self.resource(kind), key), **options)

    @signature_of(Client.list)
    async def list(self, kind: Any, *, namespace: str = "", **options: Any) -> ObjectList[Any]:
        found: ObjectList[Any] = await self.inner.list(kind, namespace=self._namespace(namespace), **options)
        return found

    @signature_of(Client.pages)
    def pages(self, kind: Any, *, namespace: str = "", **options: Any) -> AsyncGenerator[ObjectList[Any]]:
        return self.inner.pages(kind, namespace=self._namespace(namespace), **options)

    @signature_of(Client.stream)
    def stream(self, kind: Any, *, namespace: str = "", **options: Any) -> ObjectStream[Any]:
        return self.inner.stream(kind, namespace=self._namespace(namespace), **options)

    @signature_of(Client.watch)
    def watch(self, kind: Any, *, namespace: str = "", **options: Any) -> Watch[Any]:
        return self.inner.watch(kind, namespace=self._namespace(namespace), **options)

    async def create(self, obj: T, *, namespace: str = "", **options: Unpack[WriteOptions]) -> T:
        return await self.inner.create(obj, namespace=namespace, **self._write(options))

    async def update(self, obj: T, *, subresource: str = "", **options: Unpack[WriteOptions]) -> T:
        return await self.inner.update(obj, subresource=subresource, **self._write(options))

    @signature_of(Client.patch)
    async def patch(
        self, kind: Any, key: Key | None, patch: Patch, *, subresource: str = "", **options: Unpack[WriteOptions]
    ) -> Any:
        full = await self._full_key(kind, key)
        return await self.inner.patch(kind, full, patch, subresource=subresource, **self._write(options))

    async def delete(
        self,
        kind: Any,
        key: Key | None = None,
        *,
        uid: str = "",
        resource_version: str = "",
        **options: Unpack[DeleteOptions],
    ) -> None:
        full = await self._full_key(kind, key)
        await self.inner.delete(kind, full, uid=uid, resource_version=resource_version, **self._deletion(options))

    async def delete_all_of(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        **options: Unpack[DeleteOptions],
    ) -> None:
        await self.inner.delete_all_of(
            kind,
            namespace=self._namespace(namespace) or self.namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            **self._deletion(options),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"


class DryRunClient(DelegatingClient):
    """Send every write as a dry run: the server validates, defaults and admits, and stores nothing."""

    def _write(self, options: WriteOptions) -> WriteOptions:
        return {**options, "dry_run": True}

    def _deletion(self, options: DeleteOptions) -> DeleteOptions:
        return {**options, "dry_run": True}


class FieldOwnerClient(DelegatingClient):
    """Name one field manager in every write that names none."""

    def __init__(self, inner: Client, field_manager: str) -> None:
        super().__init__(inner)
        self.field_manager = field_manager

    def _write(self, options: WriteOptions) -> WriteOptions:
        return options if options.get("field_manager") else {**options, "field_manager": self.field_manager}


class FieldValidationClient(DelegatingClient):
    """Ask for one treatment of unknown fields in every write that asks for none: Ignore, Warn or Strict."""

    def __init__(self, inner: Client, field_validation: FieldValidation) -> None:
        super().__init__(inner)
        self.field_validation: FieldValidation = field_validation

    def _write(self, options: WriteOptions) -> WriteOptions:
        return options if options.get("field_validation") else {**options, "field_validation": self.field_validation}


class NamespacedClient(DelegatingClient):
    """Keep everything namespaced in one namespace: a missing one is filled in, another one is refused (ValueError)."""

    def __init__(self, inner: Client, namespace: str) -> None:
        if not namespace:
            raise ValueError("NamespacedClient needs a namespace")
        super().__init__(inner)
        self.namespace = namespace

    def _namespace(self, namespace: str) -> str:
        if namespace and namespace != self.namespace:
            raise ValueError(f"this client is confined to namespace {self.namespace!r}, not {namespace!r}")
        return self.namespace

    def _namespace_for(self, resource: Any, namespace: str, name: str) -> str:
        return self._namespace(namespace) if resource.namespaced else ""

    async def create(self, obj: T, *, namespace: str = "", **options: Unpack[WriteOptions]) -> T:
        resource, _, metadata = await self._take_apart(obj)
        chosen = self._namespace_for(resource, metadata.namespace or namespace, metadata.name)
        return await super().create(obj, namespace=chosen, **options)

    async def update(self, obj: T, *, subresource: str = "", **options: Unpack[WriteOptions]) -> T:
        resource, _, metadata = await self._take_apart(obj)
        self.complete_key(resource, metadata.key)
        return await super().update(obj, subresource=subresource, **options)
