"""Celery workers over one backlog, with Redis between them. REDIS_URL names a server other than the local one."""

import base64
import json
import os
import secrets

import pytest

from .conftest import PATIENCE, assert_kept, make_due, until

pytestmark = pytest.mark.django_db(transaction=True)

BROKER = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/15")
TASK = "django_socialgrants.refresh_tokens"
TOKENS, THREADS = 300, 8


@pytest.fixture
def broker():
    redis = pytest.importorskip("redis")
    server = redis.Redis.from_url(BROKER)
    try:
        server.ping()
    except redis.ConnectionError:
        pytest.skip(f"no Redis at {BROKER}")
    with server:
        yield server


@pytest.fixture
def site(broker):
    """The site's application as its web processes have it."""
    celery = pytest.importorskip("celery")
    with celery.Celery("site", broker=BROKER, backend=BROKER, set_as_current=False) as app:
        yield app


def test_two_workers_finish_one_backlog_and_redis_sees_no_secret(ledger, mailru_app, launch, broker, site):
    make_due(mailru_app, TOKENS)
    queues = [f"storm-{secrets.token_hex(8)}" for _ in range(2)]
    options = {"workers": THREADS, "within": 60}
    results = [site.send_task(TASK, [["mailru"]], options, queue=queue) for queue in queues]
    messages = [broker.lindex(queue, 0) for queue in queues]

    ledger.hold()
    workers = [
        launch(
            "celery",
            "-A",
            "tests.processes.celery_app",
            "worker",
            *how,
            "-Q",
            queue,
            "-l",
            "debug",
            STORM_BROKER=BROKER,
        )
        for queue, how in zip(queues, (["-P", "solo"], ["-P", "prefork", "-c", "1"]), strict=True)
    ]
    until(lambda: ledger.waiting == 2 * THREADS, *workers)  # both are at work
    ledger.release()
    reports = [result.get(timeout=PATIENCE) for result in results]
    answers = [broker.get(site.backend.get_key_for_task(result.id)) for result in results]
    for result, queue in zip(results, queues, strict=True):
        result.forget()
        broker.delete(queue)
    for worker in workers:
        worker.process.terminate()
        assert worker.exit_code() == 0, worker.errors.read_text()

    assert all(report["refreshed"] for report in reports)
    assert sum(report["refreshed"] for report in reports) == TOKENS
    assert not ledger.presented_twice
    assert_kept(ledger)

    assert [json.loads(base64.b64decode(json.loads(message)["body"]))[:2] for message in messages] == [
        [[["mailru"]], options]
    ] * 2
    assert [json.loads(answer)["result"] for answer in answers] == reports
    seen = b"".join([*messages, *answers, *(worker.errors.read_bytes() for worker in workers)])
    for secret in ("access-", "refresh-", mailru_app.client_secret.reveal(), mailru_app.client_key.reveal()):
        assert secret.encode() not in seen
