"""A Celery task for each row. `python -m bench.plain.tasks N` makes N rows and their messages."""

import os
import sys

import django
import requests
from celery import Celery, shared_task

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.plain.settings")
app = Celery("plain", broker=os.environ["REDIS_URL"], set_as_current=True)
app.conf.update(task_default_queue="plain", task_ignore_result=True, worker_prefetch_multiplier=1)
app.loader.import_default_modules()
django.setup()

from bench.plain.models import PlainVideo  # noqa: E402


@shared_task(name="plain.submit")
def submit(pk: str) -> None:
    """Posts one row and saves what came of it."""
    video = PlainVideo.objects.get(pk=pk)
    answer = requests.post(
        f"{os.environ['UPSTREAM_URL']}/videos",
        json={"prompt": video.prompt, "model": video.model, "seconds": "4", "size": video.size},
        headers={"Authorization": "Bearer a-key"},
        timeout=60,
    )
    answer.raise_for_status()
    video.metadata = answer.json()
    video.status = "sent"
    video.save()


def main() -> None:
    """Makes rows and messages."""
    for number in range(int(sys.argv[1])):
        video = PlainVideo.objects.create(prompt=f"A paper boat crosses puddle {number} at dusk.")
        submit.delay(str(video.pk))


if __name__ == "__main__":
    main()
