"""The kind that users write: ``Postgres`` in ``database.example.com/v1``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyoperator.objects import Condition, CustomResource, Model, PrinterColumn, Quantity

Identifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", min_length=1, max_length=63)]
MajorVersion = Literal["14", "15", "16", "17", "18"]


class StorageSpec(Model):
    """The volume of each instance."""

    size: Quantity = Field(description="Size of each instance's volume, as in 10Gi. It can grow, never shrink.")
    storage_class_name: str | None = Field(
        default=None, description="StorageClass of the volumes; the cluster's default if left out. Fixed at creation."
    )


class ResourceAmounts(Model):
    """Compute resources of each instance."""

    requests: dict[str, Quantity] = Field(default_factory=dict, description="What an instance is guaranteed.")
    limits: dict[str, Quantity] = Field(default_factory=dict, description="What an instance may use at most.")


class UserSpec(Model):
    """A database role with a generated password."""

    name: Identifier = Field(description="Name of the role.")
    superuser: bool = Field(default=False, description="Whether the role is a superuser.")


class DatabaseSpec(Model):
    """A database."""

    name: Identifier = Field(description="Name of the database.")
    owner: Identifier = Field(description="Role that owns the database; one of spec.users.")


class ServiceSpec(Model):
    """How the database is reached."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the -rw and -ro Services."
    )


class PostgresSpec(Model):
    """What is wanted."""

    version: MajorVersion = Field(description="Major version of PostgreSQL. Fixed at creation.")
    image: str | None = Field(
        default=None, description="Image to run; the official postgres image of the version if left out."
    )
    instances: int = Field(
        default=1, ge=1, le=9, description="Number of instances: one primary (ordinal 0), the others stream from it."
    )
    storage: StorageSpec
    resources: ResourceAmounts = Field(default_factory=ResourceAmounts)
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Server parameters (postgresql.conf); a change rolls the instances."
    )
    users: Annotated[list[UserSpec], Field(max_length=64)] = Field(
        default_factory=list,
        description="Roles made when the database is initialised, and not changed later.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    databases: Annotated[list[DatabaseSpec], Field(max_length=64)] = Field(
        default_factory=list,
        description="Databases made when the database is initialised, and not changed later.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    service: ServiceSpec = Field(default_factory=ServiceSpec)
    deletion_policy: Literal["Delete", "Retain"] = Field(
        default="Delete", description="What becomes of the volumes and the credentials when this object is deleted."
    )


class PostgresStatus(Model):
    """What is."""

    observed_generation: int | None = Field(default=None, description="The generation that this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, Progressing, Degraded; VersionAccepted, StorageAccepted, UsersApplied, ParametersAccepted.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    instances: int | None = Field(default=None, description="Instances that exist.")
    ready_instances: int | None = Field(default=None, description="Instances that accept connections.")
    endpoint: str | None = Field(default=None, description="host:port of the primary.")
    version: str | None = Field(default=None, description="Major version that runs.")
    selector: str | None = Field(default=None, description="Label selector of the instances' pods.")


class Postgres(
    CustomResource,
    group="database.example.com",
    version="v1",
    plural="postgreses",
    short_names=("pg",),
    categories=("all",),
    scale_paths=(".spec.instances", ".status.instances", ".status.selector"),
    printer_columns=(
        PrinterColumn("Version", "string", ".status.version"),
        PrinterColumn("Instances", "integer", ".spec.instances"),
        PrinterColumn("Ready", "integer", ".status.readyInstances"),
        PrinterColumn("Status", "string", '.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn("Endpoint", "string", ".status.endpoint", priority=1),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp"),
    ),
):
    """A PostgreSQL database with streaming standbys."""

    spec: PostgresSpec
    status: PostgresStatus | None = None
