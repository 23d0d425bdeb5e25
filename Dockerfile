# Two stages: the first checks hashes, builds and installs; the second has neither build tools nor root.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/watch-time
COPY constraints.txt pyproject.toml README.md ./
# What the job and the demo need, and no more, in the versions and with the hashes of constraints.txt.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['demo'], sep='\n')" > /tmp/wanted.txt \
 && pip --python /opt/watch-time/bin/python install --no-cache-dir --require-hashes -c constraints.txt -r /tmp/wanted.txt \
 && pip install --no-cache-dir --require-hashes -c constraints.txt hatchling
COPY etl ./etl
COPY migrations ./migrations
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/dist . \
 && pip --python /opt/watch-time/bin/python install --no-cache-dir --no-deps /tmp/dist/*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="watch-time" \
      org.opencontainers.image.description="BlendVision One's daily watch-time reports, brought into Postgres"
COPY --from=build /opt/watch-time /opt/watch-time
ENV PATH=/opt/watch-time/bin:$PATH \
    PYTHONUNBUFFERED=1
# Only /tmp is written to: reports are spooled there while they are loaded.
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["watch-time"]
CMD ["run"]
