# A slim CPU image: docker build --tag tlkit . ; docker run --rm --volume "$PWD:/work" tlkit finetune --base lenet5
# (the volume must be writable for user 1000)
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY tlkit tlkit
COPY recipes recipes
COPY export export
RUN python -m venv /opt/tlkit \
    && /opt/tlkit/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /opt/tlkit /opt/tlkit
RUN useradd --create-home --uid 1000 tlkit \
    && mkdir /work \
    && chown 1000:1000 /work
USER 1000
WORKDIR /work
ENV PATH=/opt/tlkit/bin:$PATH \
    PYTHONUNBUFFERED=1
ENTRYPOINT ["tlkit"]
CMD ["--help"]
