# Three stages on one base: the first checks hashes, builds and installs; the second has the fonts; the last gets both,
# and does not run as root. `make image` builds it on this base or, without a container engine, on one made from Debian's
# packages.
ARG BASE=python:3.13-slim-trixie
# What the job can use, and the sandbox. The extra `report` adds 110 MB, and its fonts another 130.
ARG EXTRAS="notify sandbox"

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all:
WORKDIR /src
RUN python3 -m venv /opt/tools \
 && python3 -m venv --without-pip /opt/watch-time
COPY constraints.txt pyproject.toml README.md ./
ARG EXTRAS
# Everything has the version and hash from constraints.txt; pip first, because only recent versions take hashes from there.
# Wheels only, so that nothing is compiled and no setup.py runs. The secrets are the host's pip settings, if it has any:
# `make image` passes them, and they are gone after this step.
RUN --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=certificates.pem,target=/run/secrets/certificates.pem \
    export PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_REQUIRE_HASHES=1 PIP_CONSTRAINT=constraints.txt \
 && python3 -c "import sys, tomllib; \
                known = tomllib.load(open('pyproject.toml', 'rb')); \
                extras = known['project']['optional-dependencies']; \
                print(*known['project']['dependencies'], *(line for name in sys.argv[1:] for line in extras[name]), \
                      sep='\n', file=open('/tmp/job.txt', 'w')); \
                print(*known['build-system']['requires'], sep='\n', file=open('/tmp/tools.txt', 'w'))" ${EXTRAS} \
 && sed -n '/^pip==/,/[^\\]$/p' constraints.txt > /tmp/pip.txt \
 && /opt/tools/bin/pip install -r /tmp/pip.txt \
 && /opt/tools/bin/pip install -r /tmp/tools.txt \
 && /opt/tools/bin/pip --python /opt/watch-time/bin/python3 install -r /tmp/job.txt
COPY etl ./etl
COPY migrations ./migrations
# The packages' own tests and C++ headers are never used; they would add 80 MB.
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /tmp/dist . \
 && /opt/tools/bin/pip --python /opt/watch-time/bin/python3 install --no-deps --no-index /tmp/dist/*.whl \
 && find /opt/watch-time/lib -type d '(' -path '*/pandas/tests' -o -path '*/numpy/*tests' -o -path '*/pyarrow/tests' \
         -o -path '*/pyarrow/include' ')' -prune -exec rm -r '{}' +

# Image files of the page are drawn with these fonts: without them, titles in Chinese, Japanese and Korean would be boxes.
# The secret names Debian's mirror, for a base that names none.
FROM ${BASE} AS fonts
ARG EXTRAS
# Fonts are not pinned: Debian keeps no older versions.
# hadolint ignore=DL3008
RUN --mount=type=secret,id=debian.sources,target=/run/secrets/debian.sources \
    mkdir -p /usr/share/fonts \
 && case " ${EXTRAS} " in \
      *" report "*) if [ -s /run/secrets/debian.sources ]; then \
                      set -- -o Dir::Etc::SourceList=/run/secrets/debian.sources -o Dir::Etc::SourceParts=-; \
                    fi \
                    && apt-get "$@" update \
                    && apt-get "$@" install --yes --no-install-recommends fonts-noto-core fonts-noto-cjk ;; \
    esac

FROM ${BASE}
COPY --from=fonts /usr/share/fonts /usr/share/fonts
COPY --from=build /opt/watch-time /opt/watch-time
# Only /tmp is written to: reports are spooled there while they are loaded.
ENV PATH=/opt/watch-time/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
# For `--entrypoint dask`, with the extra `dask`: see docs/workers.md.
ENV DASK_DISTRIBUTED__SCHEDULER__PRELOAD=etl.job.dask.ssl_workaround \
    DASK_DISTRIBUTED__WORKER__PRELOAD=etl.job.dask.ssl_workaround \
    DASK_DISTRIBUTED__NANNY__PRELOAD=etl.job.dask.ssl_workaround
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["watch-time"]
CMD ["run"]
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="watch-time" \
      org.opencontainers.image.description="Loads BlendVision One's daily watch-time reports into Postgres" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
