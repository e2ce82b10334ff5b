# The service, and the command lines, of the model beside this file:
#
#   docker build -t mlops-cookbook .
#   docker run --rm -p 127.0.0.1:8080:8080 mlops-cookbook
#   docker run --rm mlops-cookbook ./cli.py --weight 180
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
COPY requirements/serve.txt /
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
        --require-hashes --only-binary :all: -r /serve.txt
# What comes with packages and is never imported here, 60 MB: what ONNX Runtime has for C++ programs and for making
# models, NumPy's Fortran, tests. (By cd, as WORKDIR takes no pattern.)
# hadolint ignore=DL3003
RUN cd /venv/lib/python3*/site-packages \
    && rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
        numpy/f2py \
    && find . -type d -name tests -prune -exec rm -r {} +
WORKDIR /app
COPY LICENSE mlib.py cli.py utilscli.py app.py ./
COPY core core/
COPY toolkit toolkit/
COPY service service/
COPY model.joblib model.onnx ./
# The model is loaded first: one that does not answer as it did when it was trained makes no image. Then byte code is
# made, as nobody can write it at run time; by hash, not by date, so that two builds give the same files. That of the
# standard library, of which the official image has none, is half of the time to the first answer.
ENV PYTHONPYCACHEPREFIX=/pycache
RUN chmod -R a+rX . \
    && /venv/bin/python -B utilscli.py info \
    && /venv/bin/python -B -c "import sys, cli, utilscli, app, service.server; app.app; \
print(*sorted(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\n')" > /imported \
    && PYTHONHASHSEED=0 python -B -m compileall -q --invalidation-mode unchecked-hash -i /imported /venv/lib .

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY --from=build /pycache /pycache
WORKDIR /app
# Temporary files, which only several workers need, stand in memory, so that the file system may be read-only.
ENV PATH=/venv/bin:$PATH \
    PYTHONPYCACHEPREFIX=/pycache \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/dev/shm \
    HOST=0.0.0.0 \
    PORT=8080
EXPOSE 8080
USER 65532:65532
STOPSIGNAL SIGTERM
# A look costs 0.15 s of a core, so one every 15 s costs 1 %; a start takes a second, on a fifth of a core five.
# By the shell, which puts the port in.
# hadolint ignore=DL3025
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD no_proxy=127.0.0.1 ./utilscli.py health --host "http://127.0.0.1:$PORT"
CMD ["python", "app.py"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="MLOps Cookbook" \
      org.opencontainers.image.description="A model that answers on the command line and over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
