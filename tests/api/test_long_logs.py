"""A log of more bytes than one answer takes: what is asked for from its end is its end."""

from tests.daemon.given_jobs import python, submit, wait_for

API = "/api/training"
LONG = """
for i in range(3000):
    print(f"{i:06d}", "x" * 4000)
raise ValueError("the very last line")
"""


def test_the_end_of_a_log_is_its_end_however_long_its_lines_are(server):
    job_id = submit(server, python(LONG))
    wait_for(server, job_id, "failed")
    page = server.get(f"{API}/logs/{job_id}?offset=-5000&limit=5000").body
    front = server.get(f"{API}/logs/{job_id}?limit=5000").body
    found = server.get(f"{API}/{job_id}/errors").body

    assert page["offset"] + len(page["logs"]) == page["total_lines"] > 3000
    assert page["offset"] > 0
    assert page["logs"][-1] == "ValueError: the very last line"
    assert int(page["logs"][0][:6]) == page["offset"]
    assert front["offset"] == 0
    assert front["logs"][0].startswith("000000")
    assert found["traceback"]["exception_message"] == "the very last line"
