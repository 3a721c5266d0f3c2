"""The rules of the election, one by one, on the machine that has no I/O."""

from __future__ import annotations

import pytest

from pyoperator.leaderelection import Phase
from tests.leaderelection.bench import Bench, foreign_lease, metadata_of, spec_of


class TestLock:
    def test_absent_lease_is_created_with_no_transitions(self) -> None:
        bench = Bench(labels={"app": "op"})
        bench.campaign()
        assert bench.deliver("GET") == 404
        bench.pass_time(0.03)
        post = bench.requests[0]
        assert spec_of(post)["leaseTransitions"] == 0
        assert spec_of(post)["leaseDurationSeconds"] == 15
        assert spec_of(post)["renewTime"].endswith("Z")
        assert metadata_of(post)["labels"] == {"app": "op"}
        bench.deliver("POST")
        assert bench.leading
        assert bench.kinds == ["acquired", "new_leader"]

    def test_leader_renews_with_one_put_each_retry_period_on_the_version_it_holds(self) -> None:
        bench = Bench()
        bench.lead()
        for _ in range(5):
            version = bench.server.version
            acquired = bench.server.spec["acquireTime"]
            bench.pass_time(2.0)
            put = bench.requests[0]
            assert metadata_of(put)["resourceVersion"] == str(version)
            assert spec_of(put)["acquireTime"] == acquired
            assert bench.deliver("PUT") == 200
        assert bench.server.spec["leaseTransitions"] == 0
        assert [entry[0] for entry in bench.server.log] == ["GET", "POST", *["PUT"] * 5]

    def test_an_answer_after_its_own_event_does_not_renew_again_at_once(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(2.0)
        put = bench.take("PUT")
        status, body = bench.commit(put)
        bench.event()
        bench.answer(put, status, body)
        assert not bench.requests

    def test_takeover_is_a_put_on_exactly_the_version_whose_age_was_observed(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease(strategy="OldestEmulationVersion", unknown={"x": 1}))
        bench.campaign()
        bench.deliver("GET")
        version = bench.server.version
        bench.until(bench.now + 7.6)
        bench.deliver("GET")  # half a lease of silence
        bench.until(1000.0 + 14.999)
        assert not bench.requests
        bench.until(1000.0 + 15.0)
        put = bench.take("PUT")
        assert metadata_of(put)["resourceVersion"] == str(version)
        assert metadata_of(put)["labels"] == {"keep": "me"}
        assert spec_of(put)["leaseTransitions"] == 4
        assert spec_of(put)["strategy"] == "OldestEmulationVersion"
        assert spec_of(put)["unknown"] == {"x": 1}

    def test_takeover_loses_against_a_renewal_that_was_not_seen(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        bench.until(bench.now + 7.6)
        bench.deliver("GET")
        bench.until(1015.0)
        bench.server.edit(renewTime="2001-01-01T00:00:02.000000Z")
        assert bench.deliver("PUT") == 409
        bench.deliver("GET")
        assert not bench.leading
        assert bench.elector.next_tick > bench.now

    def test_expiry_starts_again_with_each_observed_renewal_and_uses_the_duration_of_the_record(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease(duration=40))
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(5)
        bench.server.edit(renewTime="2001-01-01T00:00:05.000000Z")
        bench.event()
        seen = bench.now
        while not any(request.method == "PUT" for request in bench.requests):
            if bench.requests:
                bench.deliver("GET")
            bench.until(bench.elector.next_tick)
        assert bench.now == pytest.approx(seen + 40)

    def test_edited_labels_do_not_rejuvenate_a_dead_leader(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(7)
        bench.server.annotate(note="x")
        bench.event()
        bench.pass_time(8)
        if bench.requests[0].method == "GET":
            bench.deliver("GET")
        put = bench.take("PUT")
        assert metadata_of(put)["resourceVersion"] == str(bench.server.version)

    @pytest.mark.parametrize(
        ("spec", "wait"),
        [
            ({"holderIdentity": None}, 0.02),
            ({"leaseDurationSeconds": None}, 0.0),
            ({"leaseTransitions": None, "acquireTime": None, "renewTime": None}, 15.0),
        ],
    )
    def test_malformed_leases_are_read_as_client_go_reads_them(self, spec: dict[str, None], wait: float) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.server.edit(**spec)
        bench.campaign()
        bench.deliver("GET")
        bench.until(1000.0 + min(wait, 8.0))
        if wait > 8:
            bench.deliver("GET")
            bench.until(1000.0 + wait)
        expected = 1 if "leaseTransitions" in spec else 4
        assert spec_of(bench.take("PUT"))["leaseTransitions"] == expected

    def test_transitions_grow_when_the_same_identity_acquires_after_a_release(self) -> None:
        bench = Bench()
        bench.lead()
        bench.release()
        bench.deliver("PUT")
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        bench.deliver("PUT")
        assert bench.leading
        assert bench.server.spec["leaseTransitions"] == bench.elector.token == 1

    def test_a_lease_of_an_earlier_process_with_this_identity_is_not_ours(self) -> None:
        bench = Bench("a")
        bench.server.put(foreign_lease(holder="a"))
        bench.campaign()
        bench.deliver("GET")
        assert not bench.leading
        bench.pass_time(1.0)
        assert not bench.requests

    def test_renewal_timeout_is_half_the_deadline_or_what_remains(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(2.0)
        put = bench.take("PUT")
        assert put.timeout == 5.0
        bench.pass_time(5.0)
        bench.fail(put)
        bench.pass_time(0.2)
        remaining = (bench.elector.valid_until or 0) - bench.now
        assert bench.requests[0].timeout == pytest.approx(remaining, abs=0.2)
        assert bench.requests[0].timeout < 5.0


class TestRule1ValidFromBeforeTheRequest:
    def test_counts_from_before_the_send(self) -> None:
        bench = Bench()
        bench.lead()
        bench.until(bench.elector.next_tick)
        sent_at = bench.now
        put = bench.take("PUT")
        bench.pass_time(4.0)
        bench.answer(put, *bench.commit(put))
        assert bench.elector.valid_until == pytest.approx(sent_at + 10.0)

    def test_leadership_ends_at_valid_until_even_with_a_request_in_flight(self) -> None:
        bench = Bench()
        bench.lead()
        valid_until = bench.elector.valid_until
        assert valid_until is not None
        bench.pass_time(2.0)
        put = bench.take("PUT")
        bench.until(valid_until - 0.001)
        assert bench.leading
        bench.until(valid_until)
        assert bench.elector.phase is Phase.IDLE
        assert bench.elector.valid_until is None
        assert put.request in bench.cancelled
        assert bench.kinds[-1] == "lost"

    def test_an_answer_that_wakes_a_stopped_process_does_not_revive_it(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(2.0)
        put = bench.take("PUT")
        status, body = bench.commit(put)
        bench.now += 60
        bench.answer(put, status, body)
        assert bench.elector.phase is Phase.IDLE

    def test_an_acquisition_answered_too_late_is_not_used(self) -> None:
        bench = Bench()
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        post = bench.take("POST")
        status, body = bench.commit(post)
        bench.now += 9.5
        bench.answer(post, status, body)
        assert not bench.leading
        bench.deliver("PUT")
        assert bench.leading
        assert bench.elector.token == 1


class TestRule3Evidence:
    def test_conflict_leads_to_an_immediate_get_and_another_holder_ends_leadership(self) -> None:
        bench = Bench()
        bench.lead()
        bench.server.edit(holderIdentity="thief")
        bench.pass_time(2.0)
        assert bench.deliver("PUT") == 409
        assert bench.leading
        bench.deliver("GET")
        assert not bench.leading
        assert "thief" in bench.transitions[-2].reason
        assert bench.elector.status().slowpath_total == 1

    def test_deleted_lease_ends_leadership(self) -> None:
        bench = Bench()
        bench.lead()
        bench.server.delete()
        bench.pass_time(2.0)
        assert bench.deliver("PUT") == 404
        bench.deliver("GET")
        assert bench.kinds[-1] == "lost"

    @pytest.mark.parametrize("holder", ["thief", "", None])
    def test_event_with_another_or_no_holder_ends_leadership_at_once(self, holder: str | None) -> None:
        bench = Bench()
        bench.lead()
        bench.server.edit(holderIdentity=holder)
        bench.event()
        assert not bench.leading

    def test_deletion_event_ends_leadership_at_once(self) -> None:
        bench = Bench()
        bench.lead()
        gone = {**(bench.server.lease or {})}
        bench.server.delete()
        gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(bench.server.version)}}
        bench.event("DELETED", gone)
        assert not bench.leading

    def test_an_event_older_than_the_last_write_does_not_count(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease("other", duration=1))
        old = bench.server.lease
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(1.0)
        bench.deliver("PUT")
        assert bench.leading
        bench.event("MODIFIED", old)
        assert bench.leading

    def test_versions_are_compared_as_numbers(self) -> None:
        bench = Bench()
        bench.server.version = 998
        bench.server.put(foreign_lease("other", duration=1))
        old = bench.server.lease
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(1.0)
        bench.deliver("PUT")
        assert bench.server.version == 1000
        bench.event("MODIFIED", old)
        assert bench.leading

    def test_lost_answer_is_adopted_from_before_its_own_send(self) -> None:
        bench = Bench()
        bench.lead()
        bench.until(bench.elector.next_tick)
        sent_at = bench.now
        put = bench.take("PUT")
        bench.commit(put)
        bench.fail(put)
        bench.pass_time(2.0)
        assert bench.deliver("PUT") == 409
        bench.pass_time(0.5)
        bench.deliver("GET")
        assert bench.elector.valid_until == pytest.approx(sent_at + 10.0)
        assert bench.deliver("PUT") == 200  # and renewed at once, because that send is old

    def test_a_record_that_differs_from_what_was_sent_is_not_adopted(self) -> None:
        bench = Bench()
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        post = bench.take("POST")
        bench.commit(post)
        bench.server.edit(renewTime="2001-01-01T00:00:00.000000Z")
        bench.fail(post)
        bench.pass_time(3.0)
        bench.deliver("GET")
        assert not bench.leading

    def test_a_second_process_with_the_same_identity_ends_leadership(self) -> None:
        bench = Bench()
        bench.lead()
        bench.server.edit(renewTime="2030-01-01T00:00:00.000000Z")
        bench.event()
        assert not bench.leading

    def test_edited_metadata_is_kept_and_leadership_goes_on(self) -> None:
        bench = Bench()
        bench.lead()
        before = bench.elector.valid_until
        bench.server.annotate(note="kept")
        bench.event()
        assert bench.elector.valid_until == before
        bench.pass_time(2.0)
        assert metadata_of(bench.requests[0])["annotations"] == {"note": "kept"}
        assert bench.deliver("PUT") == 200

    def test_a_shortened_duration_is_repaired_at_once_and_shortens_leadership_until_then(self) -> None:
        bench = Bench()
        bench.lead()
        bench.server.edit(leaseDurationSeconds=3)
        bench.event()
        assert (bench.elector.valid_until or 0) - bench.now == pytest.approx(2.0)
        assert bench.deliver("PUT") == 200
        assert (bench.elector.valid_until or 0) - bench.now == pytest.approx(10.0)
        assert bench.server.spec["leaseDurationSeconds"] == 15

    def test_refused_writes_on_an_unchanged_lease_do_not_hammer_the_server(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(2.0)
        sent = 0
        end = bench.now + 5.0
        while bench.now < end and sent < 100:
            if not bench.requests:
                bench.until(bench.elector.next_tick)
                continue
            request = bench.requests.pop()
            sent += 1
            if request.method == "PUT":
                bench.answer(request, 409)
            else:
                bench.answer(request, *bench.commit(request))
        assert sent < 25


class TestRule4Followers:
    def test_follow_by_watch_and_take_a_released_lease_within_20_ms(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        assert bench.watch is not None
        assert ("fieldSelector", "metadata.name=op") in bench.watch.query
        bench.pass_time(3.0)
        bench.server.edit(holderIdentity="", leaseDurationSeconds=1)
        bench.event()
        bench.pass_time(0.0201)
        assert bench.deliver("PUT") == 200
        assert bench.elector.token == 4

    def test_the_younger_candidate_waits_less(self) -> None:
        def delay(age: float, seed: int) -> float:
            bench = Bench(seed=seed)
            bench.server.put(foreign_lease(duration=100_000))
            bench.campaign()
            bench.deliver("GET")
            bench.now += age
            bench.server.edit(holderIdentity="")
            bench.event()
            return bench.elector.next_tick - bench.now

        young = [delay(2.0, seed) for seed in range(20)]
        old = [delay(3600.0, seed) for seed in range(20)]
        assert 0 <= min(young) < max(young) < min(old) < max(old) <= 0.02

    @pytest.mark.parametrize("status", [403, 0])
    def test_poll_while_the_watch_is_forbidden_or_fails(self, status: int) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        bench.end_watch(status)
        bench.until(bench.now + 0.5)
        assert bench.watch is None
        bench.until(bench.now + 2.0 * 2.2)
        assert [request.method for request in bench.requests] == ["GET"]

    def test_forbidden_watch_is_tried_again_rarely_and_a_broken_one_soon(self) -> None:
        for status, soonest, latest in ((403, 59.0, 61.0), (0, 0.0, 2.1)):
            bench = Bench()
            bench.server.put(foreign_lease(duration=1000))
            bench.campaign()
            bench.deliver("GET")
            bench.end_watch(status)
            start = bench.now
            while bench.watch is None:
                bench.until(bench.elector.next_tick)
                if bench.requests:
                    bench.deliver("GET")
            assert soonest <= bench.now - start <= latest

    def test_a_silently_dead_watch_is_found_and_replaced(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        dead = bench.watch
        bench.pass_time(1.0)
        bench.server.edit(renewTime="2001-01-01T00:00:02.000000Z")
        bench.pass_time(7.0)
        bench.deliver("GET")
        assert bench.watch is not None
        assert bench.watch is not dead

    def test_a_deleted_lease_is_not_taken_before_its_last_terms_have_run_out(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(5.0)
        gone = dict(bench.server.lease or {})
        bench.server.delete()
        gone["metadata"] = {**gone["metadata"], "resourceVersion": str(bench.server.version)}
        bench.event("DELETED", gone)
        while not any(request.method == "POST" for request in bench.requests):
            if bench.requests:
                bench.deliver("GET")
            bench.until(bench.elector.next_tick)
        assert bench.now == pytest.approx(1015.0)

    def test_a_lease_that_was_ours_is_taken_again_at_once(self) -> None:
        bench = Bench()
        bench.lead()
        bench.now += 11.0
        bench.pass_time(0)
        assert bench.elector.phase is Phase.IDLE
        bench.requests.clear()
        bench.campaign()
        bench.deliver("GET")
        assert bench.deliver("PUT") == 200
        assert bench.leading
        assert bench.elector.token == 1


class TestRule6Release:
    def test_release_closes_the_gate_first_and_writes_an_empty_holder(self) -> None:
        bench = Bench()
        bench.lead()
        bench.release()
        assert bench.elector.valid_until is None
        released = spec_of(bench.requests[0])
        assert released["holderIdentity"] == ""
        assert released["leaseDurationSeconds"] == 1
        assert released["acquireTime"] == released["renewTime"]
        assert released["leaseTransitions"] == 0
        bench.deliver("PUT")
        assert bench.kinds[-1] == "released"
        assert bench.elector.phase is Phase.IDLE

    def test_release_overtakes_a_renewal_in_flight(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(2.0)
        renewal = bench.take("PUT")
        bench.release()
        assert renewal.request in bench.cancelled
        bench.commit(renewal)
        assert bench.deliver("PUT") == 409
        bench.deliver("GET")
        assert bench.deliver("PUT") == 200
        assert bench.server.holder == ""

    def test_release_waits_for_an_acquisition_in_flight(self) -> None:
        """A look at the Lease would be too early, and leave the Lease to a process that is gone."""
        bench = Bench()
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        post = bench.take("POST")
        bench.release()
        assert not bench.requests
        assert bench.elector.valid_until is None
        status, body = bench.commit(post)
        bench.answer(post, status, body)
        bench.deliver("PUT")
        assert bench.server.holder == ""
        assert bench.elector.phase is Phase.IDLE
        assert "acquired" not in bench.kinds

    def test_release_ends_at_once_if_the_acquisition_in_flight_is_refused(self) -> None:
        bench = Bench()
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        post = bench.take("POST")
        bench.release()
        bench.server.put(foreign_lease())
        bench.answer(post, *bench.commit(post))
        bench.deliver("GET")
        assert bench.elector.phase is Phase.IDLE
        assert bench.server.holder == "other"

    def test_release_looks_by_itself_if_the_acquisition_in_flight_gets_no_answer(self) -> None:
        bench = Bench()
        bench.campaign()
        bench.deliver("GET")
        bench.pass_time(0.03)
        post = bench.take("POST")
        bench.release()
        bench.commit(post)
        bench.pass_time(1.0)
        assert post.request in bench.cancelled
        bench.deliver("GET")
        bench.deliver("PUT")
        assert bench.server.holder == ""
        assert bench.elector.phase is Phase.IDLE

    def test_release_never_touches_a_lease_of_another_holder(self) -> None:
        bench = Bench()
        bench.lead()
        bench.server.edit(holderIdentity="thief")
        bench.release()
        assert bench.deliver("PUT") == 409
        bench.deliver("GET")
        assert not bench.requests
        assert bench.server.holder == "thief"
        assert bench.elector.phase is Phase.IDLE

    def test_release_is_bounded(self) -> None:
        bench = Bench()
        bench.lead()
        bench.release()
        bench.pass_time(5.0)
        assert bench.elector.phase is Phase.IDLE
        assert bench.kinds[-1] == "release_failed"

    def test_a_follower_releases_without_a_request(self) -> None:
        bench = Bench()
        bench.server.put(foreign_lease())
        bench.campaign()
        bench.deliver("GET")
        bench.release()
        assert not bench.requests
        assert bench.elector.phase is Phase.IDLE

    def test_stop_leaves_the_lease_as_it_is(self) -> None:
        bench = Bench()
        bench.lead()
        bench.stop()
        assert not bench.requests
        assert bench.server.holder == "a"
        assert bench.elector.valid_until is None
        assert bench.kinds[-1] == "lost"

    def test_nothing_is_given_back_after_a_loss_by_silence(self) -> None:
        bench = Bench()
        bench.lead()
        valid_until = bench.elector.valid_until
        assert valid_until is not None
        bench.pass_time(2.0)
        bench.take("PUT")  # never answered
        bench.until(valid_until)
        assert bench.kinds[-1] == "lost"
        bench.release()
        assert not bench.requests
        assert bench.elector.phase is Phase.IDLE

    def test_a_process_that_slept_past_valid_until_reports_the_loss_and_gives_nothing_back(self) -> None:
        bench = Bench()
        bench.lead()
        bench.now += 60.0
        bench.release()
        assert not bench.requests
        assert bench.kinds[-1] == "lost"
        assert bench.elector.phase is Phase.IDLE

    def test_release_ends_when_what_was_written_last_runs_out(self) -> None:
        bench = Bench()
        bench.lead()
        valid_until = bench.elector.valid_until
        assert valid_until is not None
        bench.pass_time(2.0)
        bench.fail(bench.take("PUT"), sent=False)
        bench.until(valid_until - 1.0)
        for request in bench.requests:
            bench.fail(request, sent=False)
        bench.requests.clear()
        bench.release()
        assert bench.requests[0].timeout <= 1.0
        bench.until(valid_until)
        assert bench.elector.phase is Phase.IDLE
        assert bench.kinds[-1] == "release_failed"

    def test_a_candidate_that_competes_again_gives_nothing_of_its_former_tenure_back(self) -> None:
        bench = Bench()
        bench.lead()
        bench.pass_time(12.0)
        bench.requests.clear()
        bench.campaign()
        bench.requests.clear()
        bench.release()
        assert not bench.requests
        assert bench.elector.phase is Phase.IDLE
        assert "release_failed" not in bench.kinds
