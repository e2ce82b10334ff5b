# The service, and the command lines, of the model beside this file:
#
#   docker build -t mlops-cookbook .
#   docker run --rm -p 127.0.0.1:8080:8080 mlops-cookbook
#   docker run --rm mlops-cookbook ./cli.py --weight 180
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
# Byte code stands in a tree of its own, made here, as nobody can write it at run time; by a hash of the source, not by its
# date, so that two builds give the same files, and a file that is changed in the image is compiled again.
ENV PYTHONPYCACHEPREFIX=/pycache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
COPY requirements/serve.txt /
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
        --require-hashes --only-binary :all: -r /serve.txt
# What comes with packages and is never imported here, 60 MB: what ONNX Runtime has for C++ programs and for making
# models, NumPy's Fortran, tests. (By cd, as WORKDIR takes no pattern.) And as process 1 Python would not hear SIGTERM
# before the service is there.
# hadolint ignore=DL3003
RUN cd /venv/lib/python3*/site-packages \
    && rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
        numpy/f2py \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && echo "import os, signal, sys; os.getpid() == 1 and signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))" \
        > process_1.pth \
    && python -m compileall -q --invalidation-mode checked-hash .
WORKDIR /app
COPY LICENSE mlib.py cli.py utilscli.py app.py ./
COPY core core/
COPY toolkit toolkit/
COPY service service/
COPY model.joblib model.onnx ./
# The model is loaded: one that does not answer as it did when it was trained makes no image. What is imported then is
# compiled, too, of the standard library: the official image has no byte code of it, and it is half of a start.
RUN chmod -R a+rX . \
    && /venv/bin/python utilscli.py info \
    && /venv/bin/python -c "import sys, cli, utilscli, app, service.server; app.app; \
print(*sorted(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\n')" > /imported \
    && python -m compileall -q --invalidation-mode checked-hash -i /imported .

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /venv /venv
COPY --from=build /pycache/venv /pycache/venv
COPY --from=build /pycache/usr /pycache/usr
COPY --from=build /app /app
COPY --from=build /pycache/app /pycache/app
WORKDIR /app
# Temporary files, which only several workers need, stand in memory, so that the file system may be read-only.
ENV PATH=/app:/venv/bin:$PATH \
    PYTHONPYCACHEPREFIX=/pycache \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/dev/shm \
    HOST=0.0.0.0 \
    PORT=8080
EXPOSE 8080
USER 65532:65532
STOPSIGNAL SIGTERM
# A look costs 0.04 s of a core and 16 MB; a start takes a second, on a fifth of a core five.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os; \
c = http.client.HTTPConnection('127.0.0.1', os.environ.get('PORT') or 8080); c.request('GET', '/health/ready'); \
answer = c.getresponse(); print(answer.read().decode()); raise SystemExit(answer.status != 200)"]
CMD ["python", "/app/app.py"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="MLOps Cookbook" \
      org.opencontainers.image.description="A model that answers on the command line and over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
