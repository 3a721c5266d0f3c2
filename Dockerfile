# The postgres-operator: a small base and what requirements/runtime.lock names, installed by hash. On disk about 50 MB of
# base, 60 MB of packages and 15 MB of byte code; about half of that to pull.
# Build: make docker-build IMG=registry.example.com/postgres-operator:v1
# PYTHON_IMAGE may name a digest (...@sha256:...), or a base with glibc such as python:3.13.9-slim-bookworm (70 MB more).
ARG PYTHON_IMAGE=docker.io/library/python:3.13.9-alpine3.22

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 SOURCE_DATE_EPOCH=1735689600
WORKDIR /src
# Dependencies first: they change less often than the source, and these layers are kept.
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python -m venv --without-pip /opt/operator
RUN python -m pip --python /opt/operator/bin/python install --no-deps --require-hashes --only-binary :all: --no-compile --requirement requirements/runtime.lock
RUN python -m venv /opt/build
RUN /opt/build/bin/python -m pip install --no-deps --require-hashes --only-binary :all: --requirement requirements/build.lock
COPY LICENSE README.md pyproject.toml ./
COPY pyoperator pyoperator
COPY examples/postgres-operator examples/postgres-operator
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheels . ./examples/postgres-operator
RUN python -m pip --python /opt/operator/bin/python install --no-deps --no-index --no-compile /opt/wheels/*.whl
# Nothing was resolved: the locks are complete. This says so if one is not.
RUN python -m pip --python /opt/operator/bin/python check
# Byte code that is checked by nobody rather than by time of writing: equal sources give equal files, and where it runs
# nothing can be written. The operator does not load kubernetes_asyncio; its byte code would be the largest of all.
RUN /opt/operator/bin/python -m compileall -q -x kubernetes_asyncio --invalidation-mode unchecked-hash /opt/operator/lib

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/operator /opt/operator
ENV PATH=/opt/operator/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number: the kubelet can then tell that it is not root. No such user needs to exist.
USER 65532:65532
EXPOSE 8080 8081
# Exec form: the operator itself is PID 1. It handles SIGTERM and SIGINT and starts no children.
ENTRYPOINT ["postgres-operator"]
