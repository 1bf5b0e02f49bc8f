"""Which worker serves whom: the table's laws, by name, on a clock that the tests move."""

import itertools
from dataclasses import replace

import pytest

from server.placement.port import (
    HEARTBEAT_S,
    LEASE_S,
    SILENT_S,
    HeldSession,
    Lease,
    NoPlace,
    Spec,
    WorkerReport,
)
from server.placement.table import (
    HELD_S,
    MAX_LOST,
    MAX_PLACES,
    MAX_SESSIONS,
    MAX_WORKERS,
    PlacementTable,
)

TICKET = "t" * 16


def report(name: str, places: int = 2, *sessions: str, kept: str = "", **more) -> WorkerReport:
    """Of a worker with these sessions; `kept`: ids of those without a peer, with spaces between."""
    held = [HeldSession(id=id, network=f"net of {id}") for id in sessions]
    held += [HeldSession(id=id, network=f"net of {id}", is_kept=True) for id in kept.split()]
    told = {"start": f"{name}-1", "url": f"http://{name}", "model": "m", "sessions": tuple(held)} | more
    return WorkerReport(worker=name, places=places, **told)


def heard(table: PlacementTable, *reports: WorkerReport, now: float = 0.0) -> None:
    """Twice, as a worker reports that begins: the second time with its epoch."""
    for told in reports:
        epoch = table.report(told, now).epoch
        table.report(replace(told, epoch=epoch), now)


def table_of(*reports: WorkerReport, policy="spread", now: float = 0.0, **more) -> PlacementTable:
    numbers = itertools.count()
    table = PlacementTable(policy, make_id=lambda: f"id{next(numbers)}", **more)
    heard(table, *reports, now=now)
    return table


def chosen(table: PlacementTable, count: int, now: float = 0.0, **spec) -> list[str]:
    """Names of the workers whose places go one after the other, until none is left; each network is new."""
    found = []
    for number in range(count):
        try:
            found.append(table.acquire(Spec(network=f"n{number}", **spec), now).worker)
        except NoPlace:
            break
    return found


def refused(table: PlacementTable, now: float = 0.0, **spec) -> NoPlace:
    with pytest.raises(NoPlace) as caught:
        table.acquire(Spec(**spec), now)
    return caught.value


def test_a_lease_names_worker_process_and_registration():
    table = table_of(report("a"))
    lease = table.acquire(Spec(), 0.0)
    assert lease == Lease(
        worker="a", url="http://a", token="", session=lease.session, ttl=LEASE_S, start="a-1", epoch="id0"
    )
    assert table.worker_of(lease.session) == "a"


def test_law_spread_takes_most_free_first():
    table = table_of(report("a", 2), report("b", 4), report("c", 3, "x"))
    assert chosen(table, 9) == ["b", "b", "a", "c", "b", "a", "c", "b"]


def test_law_pack_takes_the_fullest_first():
    table = table_of(report("a", 2), report("b", 4), report("c", 3, "x", "y"), policy="pack")
    assert chosen(table, 9) == ["c", "a", "a", "b", "b", "b", "b"]


@pytest.mark.parametrize("policy", ["spread", "pack"])
def test_kept_sessions_give_way_only_where_there_is_no_other_place(policy):
    table = table_of(report("a", 2, kept="k1 k2"), report("b", 1), policy=policy)
    assert chosen(table, 9) == ["b", "a", "a"]


def test_law_who_asks_for_a_model_gets_it_or_waits_for_it():
    table = table_of(report("a", 5), report("b", 1, model="big"))
    assert table.acquire(Spec(model="big"), 0.0).worker == "b"
    assert refused(table, model="big", ticket=TICKET).position == 1
    assert table.acquire(Spec(ticket="u" * 16), 0.0).worker == "a", "who waits for another holds nobody up"
    unknown = refused(table, model="none")
    assert (unknown.why, str(unknown)) == ("no_model", "model: expected one of big, m, got none")
    assert len(str(refused(table, model="x" * 5000))) < 200


def test_no_model_is_unknown_while_there_is_no_worker():
    """One that has it may just be starting."""
    found = refused(PlacementTable(), model="m")
    assert (found.why, str(found)) == ("full", "no worker takes anybody now; try again soon")


def test_law_who_takes_any_model_leaves_the_one_that_another_waits_for():
    table = table_of(report("a", 1, "x", model="big"), report("b", 1, "y"))
    assert refused(table, model="big", ticket=TICKET).position == 1
    heard(table, report("a", 2, model="big"), report("b", 1))
    assert table.acquire(Spec(ticket="u" * 16), 0.0).worker == "a", "one is left over there"
    assert table.acquire(Spec(ticket="v" * 16), 0.0).worker == "b"
    assert table.acquire(Spec(model="big", ticket=TICKET), 0.0).worker == "a"


def test_law_a_session_goes_on_at_its_worker_while_that_lives():
    table = table_of(report("a", 2, "x", kept="k"), report("b", 9))
    for session in ("x", "k", "k"):
        lease = table.acquire(Spec(session=session), 0.0)
        assert (lease.worker, lease.session) == ("a", session)
    assert table.workers(0.0)[0].taken == 2, "asked twice, it has one place"


def test_a_session_whose_place_somebody_else_was_given_waits_until_its_worker_has_ended_it():
    table = table_of(report("a", 1, kept="k"))
    assert table.acquire(Spec(), 0.0).worker == "a"
    assert "somebody else has come in its place" in str(refused(table, session="k"))


def test_law_a_session_whose_worker_is_lost_goes_on_elsewhere_before_all_in_line():
    table = table_of(report("a", 1, "x"), report("b", 1, "y"))
    assert refused(table, ticket=TICKET, network="n").position == 1
    now = SILENT_S + 1
    heard(table, report("b", 1, "y"), now=SILENT_S)
    assert refused(table, now, ticket="x" * 16, session="x", network="n").position == 1
    assert refused(table, now, ticket=TICKET, network="n").position == 2
    heard(table, report("b", 1), now=now)
    assert refused(table, now, ticket=TICKET, network="n").position == 2
    lease = table.acquire(Spec(ticket="x" * 16, session="x", network="n"), now)
    assert (lease.worker, lease.session) == ("b", "x")


def test_a_lost_session_goes_on_with_its_own_model_alone():
    table = table_of(report("a", 1, "x", model="big"), report("b", 5))
    heard(table, report("b", 5), now=SILENT_S)
    now = SILENT_S + 1
    assert refused(table, now, session="x").why == "no_model"
    heard(table, report("c", 1, model="big"), now=now)
    assert table.acquire(Spec(session="x"), now).worker == "c"


def test_law_a_draining_worker_gets_nobody_and_its_sessions_go_on_elsewhere():
    table = table_of(report("a", 5, "x"), report("b", 1))
    table.drain("a")
    assert table.report(report("a", 5, "x"), 0.0).drain
    assert table.acquire(Spec(session="x"), 0.0).worker == "b"
    assert table.report(report("a", 5, "x"), 0.0).end == ("x",)
    assert "all 1 places are taken" in str(refused(table))
    with pytest.raises(KeyError):
        table.drain("nobody")


def test_a_worker_that_drains_by_itself_or_is_not_ready_gets_nobody():
    table = table_of(report("a", is_draining=True), report("b", is_ready=False))
    assert "no worker takes anybody now; try again soon" in str(refused(table))
    heard(table, report("b"))
    assert chosen(table, 9) == ["b", "b"]


def test_law_a_worker_that_restarted_voids_its_leases():
    table = table_of(report("a", 1))
    old = table.acquire(Spec(), 0.0)
    refused(table)
    again = report("a", 1, start="a-2")
    orders = table.report(again, 0.0)
    assert orders.epoch != old.epoch
    refused(table)
    table.report(replace(again, epoch=orders.epoch), 0.0)
    assert table.acquire(Spec(), 0.0).start == "a-2"


def test_law_a_silent_worker_is_lost_and_its_leases_with_it():
    table = table_of(report("a", 1))
    table.acquire(Spec(network="n"), 0.0)
    assert len(table.workers(SILENT_S)) == 1
    assert table.workers(SILENT_S + 0.1) == [] and table.held_by("n") == 0


def test_law_a_lease_that_nobody_takes_up_is_free_again():
    table = table_of(report("a", 1))
    table.acquire(Spec(), 0.0)
    for now in range(1, int(HELD_S) + 1):
        refused(table, now - 0.5)
        heard(table, report("a", 1), now=now)
    assert table.acquire(Spec(), HELD_S).worker == "a"


def test_law_from_its_first_report_on_a_session_holds_its_place_by_reports():
    table = table_of(report("a", 1))
    session = table.acquire(Spec(network="n"), 0.0).session
    told = report("a", 1, session, epoch="id0")
    table.report(told, HEARTBEAT_S)
    assert (table.workers(1.0)[0].leased, table.workers(1.0)[0].taken) == (0, 1)
    table.report(replace(told, sessions=()), 2.0)
    assert table.acquire(Spec(), 2.0).worker == "a"


def test_law_what_is_released_is_free_at_once_but_not_by_another_worker():
    table = table_of(report("a", 1), report("b", 1, "y"))
    session = table.acquire(Spec(), 0.0).session
    table.release(session, 0.0, worker="b")
    refused(table)
    table.release(session, 0.0, worker="a")
    table.release("unknown", 0.0)
    assert table.acquire(Spec(), 0.0).worker == "a"


def test_law_a_place_is_held_while_a_second_lease_of_its_session_may_be_taken_up():
    """The client asked twice: which of the two was taken up nobody can tell."""
    table = table_of(report("a", 1))
    session = table.acquire(Spec(), 0.0).session
    assert table.acquire(Spec(session=session), 0.0).session == session
    for active in ((session,), ()):
        table.report(report("a", 1, *active, epoch="id0"), 1.0)
    table.release(session, 1.0, worker="a")
    for now in range(1, int(HELD_S) + 1):
        refused(table, now - 0.5)
        table.report(report("a", 1, epoch="id0"), now)
    assert table.acquire(Spec(), HELD_S).worker == "a"


def test_a_session_that_its_worker_still_reports_is_there_though_somebody_released_it():
    table = table_of(report("a", 1, "x"))
    table.release("x", 0.0)
    table.report(report("a", 1, "x", epoch="id0"), 1.0)
    refused(table, 1.0)


def test_law_a_table_that_starts_anew_decides_as_before_after_two_rounds_of_reports():
    reports = [report("a", 3, "x"), report("b", 3, "y", "z", kept="k"), report("c", 2)]
    before, after = table_of(*reports), PlacementTable()
    epochs = {told.worker: after.report(told, 50.0).epoch for told in reports}
    assert str(refused(after, 50.0)) == "no worker takes anybody now; try again soon"
    for told in reports:
        after.report(replace(told, epoch=epochs[told.worker]), 50.0)
    assert chosen(before, 9) == chosen(after, 9, 50.0)


def test_law_a_table_that_has_not_heard_all_workers_moves_no_session():
    table = PlacementTable()
    heard(table, report("b", 5), now=50.0)
    assert "not all workers have reported yet" in str(refused(table, 50.0, session="x"))
    table.report(report("a", 5, "x"), 51.0)
    assert "has not reported twice" in str(refused(table, 51.0, session="x"))
    heard(table, report("a", 5, "x"), now=51.0)
    assert table.acquire(Spec(session="x"), 51.0).worker == "a"
    heard(table, report("b", 5), now=53.0)
    assert table.acquire(Spec(session="gone"), 50.0 + SILENT_S).worker == "b"


def test_law_a_session_that_went_on_elsewhere_is_ended_at_the_worker_that_comes_back():
    table = table_of(report("a", 1, "x"), report("b", 1))
    heard(table, report("b", 1), now=SILENT_S)
    now = SILENT_S + 1
    assert table.acquire(Spec(session="x"), now).worker == "b"
    assert table.report(report("a", 1, "x"), now).end == ("x",)
    assert table.report(report("b", 1, "x"), now).end == ()


def test_law_a_network_holds_no_more_places_than_its_share_on_all_workers_together():
    table = table_of(report("a", 5), report("b", 5), max_per_network=2)
    assert {table.acquire(Spec(network="n"), 0.0).worker for _ in range(2)} == {"a", "b"}
    full = refused(table, network="n")
    assert (full.why, str(full)) == (
        "address_full",
        "your address holds 2 places, as many as one may; try again later",
    )
    assert table.acquire(Spec(network="other"), 0.0)


def test_law_a_network_has_few_places_that_it_has_not_taken_up():
    """A lease costs a request, and no connection."""
    table = table_of(report("a", 9), max_leased_per_network=2)
    taken, _ = (table.acquire(Spec(network="n"), 0.0).session for _ in range(2))
    full = refused(table, network="n")
    assert full.why == "address_full"
    assert str(full) == "2 places are kept for your address, and nobody has come yet; try again soon"
    assert table.acquire(Spec(network="other"), 0.0)
    table.report(report("a", 9, taken, epoch="id0"), 1.0)
    released = table.acquire(Spec(network="n"), 1.0).session
    refused(table, 1.0, network="n")
    table.release(released, 1.0)
    assert table.acquire(Spec(network="n"), 1.0)
    for now in range(2, int(HELD_S) + 1):
        refused(table, now - 1.0, network="n")
        heard(table, report("a", 9, taken), now=now)
    assert table.acquire(Spec(network="n"), HELD_S)
    assert chosen(table, 9, HELD_S) == ["a"] * 6


def test_a_session_that_is_leased_again_and_again_has_one_lease():
    table = table_of(report("a", 9, kept="k"), max_leased_per_network=2)
    for _ in range(3):
        table.acquire(Spec(network="n", session="k"), 0.0)
    assert table.acquire(Spec(network="n"), 0.0)
    refused(table, network="n")


def test_law_a_lost_workers_sessions_come_back_all_at_once():
    """Of one network, too; leases of a worker that is lost are no more."""
    table = table_of(report("a", 4, "w", "x", "y", "z"), report("b", 9), max_leased_per_network=1)
    table.acquire(Spec(network="n"), 0.0)
    for now in (SILENT_S, SILENT_S + 0.1):
        heard(table, report("b", 9), now=now)
    for session in "wxyz":
        assert table.acquire(Spec(network="m", session=session), SILENT_S + 0.1).worker == "b"
    table = table_of(report("a", 4), report("b", 9, "x"), max_leased_per_network=1)
    assert table.acquire(Spec(network="n"), 0.0).worker == "b"
    heard(table, report("a", 4), now=SILENT_S + 0.1)
    assert table.acquire(Spec(network="n"), SILENT_S + 0.1).worker == "a"


def test_law_who_does_not_take_a_place_up_comes_after_others_who_wait():
    """As who had a place and showed nothing: else one could hold a place with a request now and then."""
    table = table_of(report("a", 1))
    table.acquire(Spec(network="n"), 0.0)
    for now in range(1, 25):
        heard(table, report("a", 1), now=now - 0.5)
        for network in ("n", "other"):
            refused(table, now - 0.5, network=network, ticket=f"{network:t>16}")
    assert refused(table, HELD_S, network="n", ticket=f"{'n':t>16}").position == 2
    assert table.acquire(Spec(network="other", ticket=f"{'other':t>16}"), HELD_S).worker == "a"


def test_law_higher_priorities_come_first_in_line():
    table = table_of(report("a", 1, "x"))
    assert refused(table, ticket=TICKET, network="n").position == 1
    assert refused(table, ticket="u" * 16, network="o", priority=1).position == 1
    assert refused(table, ticket=TICKET, network="n").position == 2
    heard(table, report("a", 1))
    assert refused(table, network="p").position is None
    assert table.acquire(Spec(network="p", priority=2), 0.0).worker == "a"


def test_who_comes_in_waits_no_more_and_is_told_how_long_it_was():
    table = table_of(report("a", 1, "x"))
    refused(table, ticket=TICKET)
    heard(table, report("a", 1), now=3.0)
    assert table.acquire(Spec(ticket=TICKET), 3.0).waited == 3.0
    assert not table.leave_queue(TICKET) and table.num_waiting(3.0) == 0


def test_to_ask_is_not_to_lease():
    table = table_of(report("a", 1))
    for _ in range(3):
        table.check(Spec(), 0.0)
    table.acquire(Spec(), 0.0)
    with pytest.raises(NoPlace):
        table.check(Spec(), 0.0)


@pytest.mark.parametrize(
    "spec", [{"session": "a b"}, {"session": ""}, {"session": "s" * 65}, {"ticket": "short"}]
)
def test_ids_that_are_none_are_refused_by_field(spec):
    (field,) = spec
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        table_of(report("a")).acquire(Spec(**spec), 0.0)


def test_law_what_workers_report_is_bounded():
    table = table_of()
    with pytest.raises(ValueError, match=f"places of worker 'a': expected 0 to {MAX_PLACES}, got"):
        table.report(report("a", MAX_PLACES + 1), 0.0)
    with pytest.raises(ValueError, match="sessions of worker 'a'"):
        table.report(report("a", 1, *map(str, range(MAX_SESSIONS + 1))), 0.0)
    heard(table, report("a"))
    for number in range(MAX_WORKERS - 1):
        table.report(report(f"w{number}", 0), 0.0)
    with pytest.raises(ValueError, match=f"worker: expected at most {MAX_WORKERS}"):
        table.report(report("one more"), 0.0)


def test_law_what_is_remembered_of_lost_sessions_is_bounded_and_ends():
    table = PlacementTable()
    for number in range(MAX_LOST // MAX_SESSIONS + 2):
        ids = [f"s{number}-{session}" for session in range(MAX_SESSIONS)]
        table.report(report(f"w{number}", 1, *ids), 0.0)
    table.workers(SILENT_S + 1)
    assert len(table._lost) == MAX_LOST
    table.workers(SILENT_S + 100)
    assert not table._lost and not table._where
