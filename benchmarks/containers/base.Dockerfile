# A stand-in for the official base where it cannot be pulled: a plain Debian with Python, given what the official one
# has, as far as it matters to sizes and starts. See README.md.
ARG PLAIN=python:3.13-slim
FROM ${PLAIN}
ENV PYTHONDONTWRITEBYTECODE=1
# apt keeps no packages that it has installed, and dpkg no documentation.
RUN echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        > /etc/apt/apt.conf.d/docker-clean \
    && echo 'Acquire::Languages "none"; Acquire::GzipIndexes "true";' > /etc/apt/apt.conf.d/docker-lists \
    && printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' '/usr/share/info/*' \
        > /etc/dpkg/dpkg.cfg.d/docker
# pip is one that pip installed, and can replace; what dpkg installed it cannot. The newest, as the official image has.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --no-compile --ignore-installed pip && rm -rf /usr/lib/python3/dist-packages/*
# The official Python comes without byte code of its standard library: https://github.com/docker-library/python/issues/615
RUN find /usr/lib/python3* -name __pycache__ -prune -exec rm -r {} +
# An empty value is that of a variable that is not set; uv trusts the certificates of the base.
ENV PYTHONDONTWRITEBYTECODE="" \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
