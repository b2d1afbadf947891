"""Secrets are on no command line, in no answer, and still reach the job."""

from stoker.rundir.identity import all_pids, read_proc
from tests.daemon.given_jobs import python
from tests.waiting import wait_until

VALUE = "hf_verysecretvalue123"
SHOWS = python("import os, time; print(len(os.environ['HF_TOKEN']), flush=True); time.sleep(600)")


def test_a_secret_reaches_the_job_and_no_command_line(stoker):
    done = stoker("submit", "--secret", "HF_TOKEN", "--id", "with-secret", "--grace", "0", "--", *SHOWS, HF_TOKEN=VALUE)
    with stoker.client() as client:
        wait_until(lambda: client.logs("with-secret")["logs"] == [str(len(VALUE))], 30)
        lines = [read_proc(f"{pid}/cmdline") for pid in all_pids()]
        client.cancel("with-secret")

    assert done.returncode == 0, done.stderr
    assert not any(VALUE.encode() in line for line in lines)
    for words in (("show", "with-secret", "--json"), ("events", "with-secret", "--json"), ("ls", "--all", "--json")):
        assert VALUE not in stoker(*words).stdout


def test_a_secret_on_the_command_line_is_refused_without_repeating_it(stoker):
    done = stoker("submit", "--secret", f"HF_TOKEN={VALUE}", "--", "true")

    assert done.returncode == 2
    assert VALUE not in done.stdout + done.stderr
    assert "use --secret HF_TOKEN" in done.stderr


def test_there_is_no_flag_for_a_key(stoker):
    for command in ("ls", "submit", "watch"):
        assert "--key" not in stoker(command, "--help").stdout
