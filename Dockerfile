# syntax=docker/dockerfile:1
# One image for all roles; docker-compose.yml has the command of each. tests/deploy holds it to the code.

FROM python:3.11-slim-bookworm AS install
COPY requirements/runtime.txt /tmp/runtime.txt
# Wheels only: nothing is compiled, so neither stage has a compiler.
RUN python -m venv --without-pip /opt/takeone \
    && pip --python /opt/takeone/bin/python install --no-cache-dir --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes -r /tmp/runtime.txt

FROM python:3.11-slim-bookworm
# A named volume takes the owner of the folder that it is mounted over first.
RUN groupadd --gid 10001 takeone \
    && useradd --uid 10001 --gid takeone --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin takeone \
    && install -d -o takeone -g takeone -m 0750 \
        /var/lib/takeone /var/lib/takeone/media /var/lib/takeone/simulator
COPY --from=install /opt/takeone /opt/takeone
WORKDIR /app
COPY manage.py ./
COPY deploy/probe.py deploy/
COPY accounts accounts/
COPY api api/
COPY batches batches/
COPY compat compat/
COPY config config/
COPY health health/
COPY simulator simulator/
COPY upstreams upstreams/
COPY videos videos/
COPY webhooks webhooks/
# The code belongs to root, so the service cannot change it, nor write byte code later.
RUN python -m compileall -q /app
ENV PATH=/opt/takeone/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TAKEONE_VAR=/var/lib/takeone \
    TAKEONE_BIND=0.0.0.0:8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "deploy/probe.py", "get", "http://127.0.0.1:8000/health"]
CMD ["python", "-m", "gunicorn", "-c", "python:config.server", "config.wsgi"]
