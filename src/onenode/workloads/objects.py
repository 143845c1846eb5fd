"""Objects that controllers write: pods and what owns them.

Every write takes the way of a client's, so that defaults, admission and validation are the same.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from onenode.context import Context
from onenode.deletion import delete_record, review_deletion
from onenode.registry import Resource
from onenode.requests import Options, User
from onenode.selectors import match_label_selector
from onenode.watch import Record
from onenode.webhooks.review import Attributes
from onenode.writing import Write

__all__ = ["Objects", "controller_of"]

Obj = dict[str, Any]

_OPTIONS: Final = Options(manager="kube-controller-manager")


def controller_of(obj: Obj) -> Obj | None:
    """The reference to the object that looks after this one."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Obj = owner
            return found
    return None


class Objects:
    """Reads and writes of one controller, in the name of its service account."""

    def __init__(self, context: Context, controller: str) -> None:
        self._context = context
        self._user = _account(controller)
        self.clock = context.clock

    def record(self, stored_as: str, namespace: str | None, name: str) -> Record | None:
        """One object as stored."""
        return self._context.store.record(stored_as, namespace, name)

    def records(self, stored_as: str, namespace: str | None = None) -> list[Record]:
        """All objects of a resource."""
        return self._context.store.records(stored_as, namespace)

    def claimed(self, stored_as: str, owner: Record) -> list[Record]:
        """The objects that the owner looks after.

        Those that nobody looks after and its selector matches are adopted; its own that do not match any
        more are let go.
        """
        selector, uid = owner.view["spec"].get("selector"), owner.view["metadata"]["uid"]
        found: list[Record] = []
        for record in self.records(stored_as, owner.namespace):
            holder = controller_of(record.view)
            if holder is not None and holder.get("uid") != uid:
                continue
            matches = match_label_selector(selector, record.view["metadata"].get("labels"))
            going = self._going(record) or self._going(owner)
            if holder is not None and (matches or going):
                found.append(record)
            elif holder is not None:
                self._release(record, uid)
            elif matches and not going:
                found.append(self._adopt(record, owner))
        return found

    def _going(self, record: Record) -> bool:
        return bool(record.view["metadata"].get("deletionTimestamp"))

    def _adopt(self, record: Record, owner: Record) -> Record:
        obj = record.copy()
        obj["metadata"].setdefault("ownerReferences", []).append(_reference(owner))
        self._context.store.update(record.resource, obj)
        return self.record(record.resource, record.namespace, record.name) or record

    def _release(self, record: Record, uid: str) -> None:
        obj = record.copy()
        kept = [one for one in obj["metadata"]["ownerReferences"] if one.get("uid") != uid]
        obj["metadata"]["ownerReferences"] = kept
        if not kept:
            del obj["metadata"]["ownerReferences"]
        self._context.store.update(record.resource, obj)

    async def create_pod(
        self, owner: Record, template: Obj, node_name: str = "", finalizer: str = ""
    ) -> None:
        """A pod of a template; with ``node_name`` the scheduler does not see it.

        Raises:
            ApiError: the pod is refused.
        """
        metadata = copy.deepcopy(template.get("metadata") or {})
        kept = {
            name: metadata[name] for name in ("labels", "annotations", "finalizers") if metadata.get(name)
        }
        if finalizer:
            kept["finalizers"] = [*kept.get("finalizers", []), finalizer]
        pod: Obj = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                "generateName": f"{owner.name}-",
                "namespace": owner.namespace,
                **kept,
                "ownerReferences": [_reference(owner)],
            },
            "spec": copy.deepcopy(template["spec"]),
        }
        if node_name:
            pod["spec"]["nodeName"] = node_name
        await self.create("pods", owner.namespace, pod)

    async def create_owned(self, stored_as: str, owner: Record, obj: Obj) -> None:
        """An object that belongs to another.

        Raises:
            ApiError: it is refused.
        """
        obj["metadata"]["ownerReferences"] = [_reference(owner)]
        await self.create(stored_as, owner.namespace, obj)

    async def create(self, stored_as: str, namespace: str | None, obj: Obj) -> None:
        """A new object.

        Raises:
            ApiError: it is refused.
        """
        await self._write(stored_as, namespace, "").create_object(obj)

    async def update(self, record: Record, obj: Obj) -> None:
        """Replace an object; nothing happens if it is the same.

        Raises:
            ApiError: it is refused.
        """
        if obj != record.view:
            await self._write(record.resource, record.namespace, record.name).update_object(record, obj)

    async def set_status(self, record: Record, status: Obj) -> None:
        """Replace the status; nothing happens if it is the same or the object is gone."""
        current = self.record(record.resource, record.namespace, record.name)
        if current is not None:
            await self.update_status(current, {**current.copy(), "status": status})

    async def update_status(self, record: Record, obj: Obj) -> None:
        """Write the status, and the metadata that the kind takes along with it.

        Raises:
            ApiError: it is refused.
        """
        if obj != record.view:
            write = self._write(record.resource, record.namespace, record.name, "status")
            await write.update_object(record, obj)

    async def delete(self, record: Record) -> None:
        """Delete an object if it is still there and not being deleted.

        Raises:
            ApiError: a webhook refuses it.
        """
        current = self.record(record.resource, record.namespace, record.name)
        if current is None or self._going(current):
            return
        resource = self._resource(record.resource)
        await review_deletion(self._context, self._attributes(resource, current), current)
        current = self.record(record.resource, record.namespace, record.name)
        if current is not None and not self._going(current):
            delete_record(self._context.store, resource, current, policy="Background")

    def _attributes(self, resource: Resource, record: Record) -> Attributes:
        options = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background"}
        return Attributes(
            operation="DELETE",
            resource=resource,
            namespace=record.namespace,
            name=record.name,
            user=self._user,
            options=options,
        )

    def drop_finalizer(self, record: Record, finalizer: str) -> None:
        """Take a finalizer away."""
        current = self.record(record.resource, record.namespace, record.name)
        if current is not None and finalizer in (current.view["metadata"].get("finalizers") or []):
            obj = current.copy()
            obj["metadata"]["finalizers"].remove(finalizer)
            if not obj["metadata"]["finalizers"]:
                del obj["metadata"]["finalizers"]
            self._context.store.update(record.resource, obj)

    def _resource(self, stored_as: str) -> Resource:
        return self._context.registry.stored()[stored_as]

    def _write(self, stored_as: str, namespace: str | None, name: str, subresource: str = "") -> Write:
        return Write(
            context=self._context,
            resource=self._resource(stored_as),
            namespace=namespace,
            name=name,
            subresource=subresource,
            options=_OPTIONS,
            user=self._user,
        )


def _account(controller: str) -> User:
    """Who a controller is for webhooks."""
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
    return User(f"system:serviceaccount:kube-system:{controller}", groups)


def _reference(owner: Record) -> Obj:
    view = owner.view
    return {
        "apiVersion": view["apiVersion"],
        "kind": view["kind"],
        "name": owner.name,
        "uid": view["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
