# mlwalls over standard input and output: docker run -i --rm mlwalls
# Over HTTP: docker run --rm -p 127.0.0.1:8000:8000 mlwalls serve --http --host 0.0.0.0 --allow-host localhost:8000
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY prompts prompts
COPY server server
COPY solvers solvers
COPY zoo zoo
RUN python -m venv /opt/mlwalls && /opt/mlwalls/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/mlwalls /opt/mlwalls
RUN useradd --system --no-create-home mlwalls
USER mlwalls
EXPOSE 8000
ENTRYPOINT ["/opt/mlwalls/bin/mlwalls"]
