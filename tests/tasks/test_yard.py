from tasks.yard import Pulse, Rota

LEASE = 20.0


def test_a_process_that_renews_in_time_believes_what_it_sees() -> None:
    pulse = Pulse()
    assert pulse.steady(0.0, LEASE)
    for now in (0.0, 5.0, 10.0, 18.0):
        pulse.beat(now, LEASE)
        assert pulse.steady(now, LEASE)


def test_an_outage_makes_run_out_leases_doubtful_for_one_lease() -> None:
    pulse = Pulse()
    pulse.beat(0.0, LEASE)
    assert not pulse.steady(30.0, LEASE)
    for now in (30.0, 35.0, 40.0, 45.0):
        pulse.beat(now, LEASE)
        assert not pulse.steady(now, LEASE)
    pulse.beat(50.0, LEASE)
    assert pulse.steady(50.0, LEASE)


def test_of_several_who_would_look_one_does_in_each_interval() -> None:
    rota = Rota()
    assert [rota.mine("a", now, 0.25) for now in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert rota.mine("b", 0.6, 0.25)
