from tasks.unrung import unrung


def test_a_job_that_nobody_rang_for_is_routed(inn) -> None:
    inn.bell.error = ConnectionError("no broker")
    job_id = inn.submit(["a"])
    inn.submit([b"{"], skip_bad_lines=True)
    inn.bell.error = None
    assert inn.run(unrung) == "1 jobs to route, 0 pilots over, 0 waves to plan, 0 to score"
    assert inn.bell.rung == [("route", (job_id,))]
    inn.rows("update chunks set status = 'done'")
    assert inn.run(unrung) == "0 jobs to route, 0 pilots over, 0 waves to plan, 0 to score"
