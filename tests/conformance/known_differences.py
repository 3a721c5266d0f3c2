"""Where the embedded server answers otherwise, and why. A difference that vanishes must leave this table."""

from __future__ import annotations

_GO_WORDS = "the reason is in the words of Go's JSON and YAML decoders; code and Status reason are the same"
_GO_DIFF = "the real server appends a comparison of its Go structs; a client reads the sentence before it"
_APPLY = "server-side apply is not served: 415 with what to do instead"
_AT_ONCE = "a definition is established in the step that creates it, so the answer shows it already"
_NO_PROTOBUF = "no answer is written in protobuf, so it is not offered"
_PROBE_TIMES = "the real server writes times that nobody set as null"
_OF_STATUS = "in a write to /status the real server names fields without the status before them"
_MULTIPLE = "the real server cuts a factor below 1 to the integer 0 and then refuses every whole number"

# (area/scenario, number of the step from 0) -> reason
KNOWN_DIFFERENCES: dict[tuple[str, int], str] = {
    ("custom_resources/validation", 9): _MULTIPLE,
    ("custom_resources/defaults-and-pruning", 2): _MULTIPLE,
    ("custom_resources/status", 3): _OF_STATUS,
    ("schemas/ratcheting", 5): _OF_STATUS,
    ("custom_resources/patches", 3): _APPLY,
    ("custom_resources/malformed-objects", 2): _GO_WORDS,
    (
        "custom_resources/malformed-objects",
        7,
    ): "the real server panics on protobuf for a custom resource; here it is 400",
    ("custom_resources/bad-definitions", 4): "the real server adds a fault of the status that it would have written",
    ("custom_resources/bad-definitions", 7): "the real server adds what a missing scope leads to",
    ("custom_resources/bad-definitions", 8): "an empty list is shown as [], not as Go's nil",
    ("custom_resources/definition-in-its-first-moment", 0): _AT_ONCE,
    ("custom_resources/postgres-of-the-example", 0): _AT_ONCE,
    ("kinds/endpoints", 2): "no deprecation warning beside a refusal",
    ("kinds/daemon-set", 1): "the annotation of the template's generation is shown in Tables, too",
    ("kinds/job", 2): "that a Job's template is immutable is not checked: its simulator reads it once",
    ("kinds/controller-revision", 1): "the real server compares data with its decoded self and refuses any update",
    ("kinds/node", 0): "nodes are there to be scheduled on: no admission taints them, no CIDRs are derived",
    ("kinds/node", 1): "nodes are there to be scheduled on: no admission taints them, no CIDRs are derived",
    ("kinds/persistent-volume", 1): "an empty capacity is shown as null, not as {}",
    ("kinds/eviction-against-a-budget", 1): _PROBE_TIMES,
    ("objects/server-owned-metadata", 1): "a generation that a client made up is dropped for every kind",
    ("objects/field-validation", 1): "unknown fields are named in alphabetical order, not in that of the body",
    ("objects/field-validation", 8): "the patched object is shown where the real server shows the patch as a Go map",
    ("objects/pod", 5): _GO_DIFF,
    ("objects/pod", 6): _PROBE_TIMES,
    ("objects/pod", 7): _PROBE_TIMES,
    ("objects/persistent-volume-claim", 1): _GO_DIFF,
    ("objects/persistent-volume-claim", 2): _GO_DIFF,
    ("reads/answers-in-other-forms", 1): _NO_PROTOBUF,
    ("requests/malformed-bodies", 1): _GO_WORDS,
    ("requests/malformed-bodies", 8): _GO_WORDS,
    ("requests/content-types", 3): _GO_WORDS,
    ("requests/content-types", 5): _GO_WORDS,
    ("requests/discovery-forms", 0): _NO_PROTOBUF,
    (
        "requests/name-of-a-subresource",
        2,
    ): "pods are bound by the simulator alone: whether the pod exists is asked first",
    (
        "writes/merge-patch",
        5,
    ): "a change of kind is refused as such; the real server reads the data as the other kind's",
    (
        "versions/initial-events-in-other-forms",
        6,
    ): "a bookmark has the metadata alone, without the fields that Go writes even when they are empty",
    ("writes/strategic-patch", 5): _GO_WORDS,
    ("writes/strategic-patch", 6): "a replaced map that was not there is kept; the real server loses it",
    ("writes/server-side-apply", 0): _APPLY,
    ("writes/server-side-apply", 1): _APPLY,
}
