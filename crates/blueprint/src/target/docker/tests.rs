//! One Dockerfile per toolchain, as a person reads it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use crate::detect::Repository;
use crate::{Artifacts, Pins, Platform, detect, render};

fn rendered(services: &str, files: &[(&str, &str)]) -> Artifacts {
    let text = format!(
        "plimsoll: 1\napp: shop\nimage: ghcr.io/acme/shop\nowners: {{team: trade}}\n\
         services:\n{services}\nresources:\n  files: {{type: volume}}\n\
         environments: {{production: {{target: host, hosts: [a], domain: shop.example}}}}\n"
    );
    let manifest = manifest::parse(&text).unwrap();
    let plan = manifest::resolve(&manifest, "production").unwrap().plan;
    let repository: Repository = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect::<BTreeMap<_, _>>();
    let sources = detect(&plan, &repository).unwrap();
    render(&Platform::new(vec![plan], sources, Pins::new()))
}

fn check(services: &str, files: &[(&str, &str)], path: &str, wanted: &Expect) {
    let artifacts = rendered(services, files);
    wanted.assert_eq(&artifacts.get(path).unwrap().text);
}

/// The first stages, up to the last ones, which are the same for all.
fn check_stages(services: &str, files: &[(&str, &str)], wanted: &Expect) {
    let artifacts = rendered(services, files);
    let text = &artifacts.get("a/Dockerfile").unwrap().text;
    let (_, stages) = text.split_once("AS plimsoll\n\n").unwrap();
    let (stages, _) = stages
        .split_once("COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run\nENV")
        .unwrap();
    wanted.assert_eq(stages);
}

#[test]
fn a_worker_shares_the_stages_of_its_poetry_project() {
    let services = "
  api:
    path: a
    language: python@3.12
    package_manager: poetry
    system: [tesseract-ocr, libpdfium, libpq-dev]
    run: poetry run uvicorn app.main:app
    port: 8080
    uses: [files]
    gpu: {count: 1, cuda: '12.6'}
  worker: {from: api, run: celery -A app.tasks worker}";
    let files = &[];
    check(
        services,
        files,
        "a/Dockerfile",
        &expect![[r##"
        # Written by `plimsoll render` from plimsoll.yaml.
        #
        # Images: `api`, `worker`
        # Build one: docker build --target api --file a/Dockerfile a
        # Build all: docker buildx bake
        # Private registries: add --secret id=netrc,src=$HOME/.netrc

        FROM ghcr.io/plimsoll/plimsoll-run:0.1.0 AS plimsoll

        FROM python:3.12-bookworm AS dependencies
        ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
            PIP_ROOT_USER_ACTION=ignore \
            VIRTUAL_ENV=/opt/venv \
            POETRY_NO_INTERACTION=1 \
            PATH=/opt/venv/bin:/opt/poetry/bin:$PATH
        # hadolint ignore=DL3008
        RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
            --mount=type=cache,target=/var/lib/apt,sharing=locked \
            rm -f /etc/apt/apt.conf.d/docker-clean && \
            apt-get update && \
            apt-get install --yes --no-install-recommends libpq-dev
        RUN --mount=type=cache,target=/root/.cache \
            python -m venv /opt/poetry && /opt/poetry/bin/pip install poetry==2.5.1
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY pyproject.toml poetry.lock ./
        RUN --mount=type=cache,target=/root/.cache \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            python -m venv --without-pip /opt/venv && \
            poetry install --only main --no-root --no-directory

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        # Compiled here, since an image cannot be written; what does not compile is left as it is.
        RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app || true

        # The interpreter without what only installs or draws, and what it and the packages link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /tree/usr/local
        RUN mkdir -p bin lib /empty && \
            cp -a /usr/local/bin/python /usr/local/bin/python3 /usr/local/bin/python3.12 bin/ && \
            cp -a /usr/local/lib/python3.12 lib/ && \
            rm -rf lib/python3.12/{ensurepip,idlelib,tkinter,turtledemo,lib-dynload/_tkinter*} && \
            find lib/python3.12/site-packages -mindepth 1 -delete && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /opt/venv /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        # PDFium is in no release of Debian: this is the library that pypdfium2 brings.
        FROM python:3.13-slim-bookworm AS pdfium
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        RUN --mount=type=cache,target=/root/.cache/pip \
            pip install --no-deps --target=/wheel pypdfium2==5.15.2 && \
            install -D /wheel/pypdfium2_raw/libpdfium.so \
                "/tree/usr/lib/$(uname -m)-linux-gnu/libpdfium.so"

        # Native packages: every file that installing them changed, what they link, and what a scanner of
        # the image asks for.
        FROM debian:bookworm-slim AS worker.native
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        # Debian keeps only the newest of a version; the digest of the base image says which day it is.
        # hadolint ignore=DL3008
        RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
            --mount=type=cache,target=/var/lib/apt,sharing=locked \
            rm -f /etc/apt/apt.conf.d/docker-clean && \
            touch /before && \
            apt-get update && \
            apt-get install --yes --no-install-recommends \
                tesseract-ocr && \
            mkdir -p /tree/var/lib/dpkg/status.d && \
            find etc opt usr var -xdev \
                \( -path var/lib/apt -o -path var/lib/dpkg -o -path 'var/cache/*' -o -path var/log \
                -o -path 'etc/passwd*' -o -path 'etc/group*' -o -path 'etc/*shadow*' \
                -o -path etc/ld.so.cache \) -prune \
                -o ! -type d -cnewer /before -print0 | \
            tar --create --null --no-recursion --files-from=- | tar --extract --directory=/tree && \
            find var/lib/dpkg/info -name '*.list' -cnewer /before -printf '%f\n' | sed 's/\.list$//' | \
            while read -r package; do \
                dpkg-query --status "$package" > "/tree/var/lib/dpkg/status.d/${package%%:*}"; \
            done && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS worker
        COPY --from=pdfium /tree/ /
        COPY --from=worker.native /tree/ /
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
            PYTHONUNBUFFERED=1 \
            PYTHONDONTWRITEBYTECODE=1 \
            HOME=/tmp \
            PYTHONPATH=/app \
            PLIMSOLL_SERVICE=worker
        WORKDIR /app
        USER 65532:65532
        HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
            CMD ["/usr/local/bin/plimsoll-run", "probe", "ready"]
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        CMD ["celery", "-A", "app.tasks", "worker"]
        # Last, since they change with every commit.
        ARG VERSION=0.0.0-dev
        ARG REVISION=unknown
        ARG SOURCE=
        ENV PLIMSOLL_RELEASE=${VERSION}
        LABEL org.opencontainers.image.title=worker \
              org.opencontainers.image.vendor=trade \
              org.opencontainers.image.version="${VERSION}" \
              org.opencontainers.image.revision="${REVISION}" \
              org.opencontainers.image.source="${SOURCE}" \
              org.opencontainers.image.base.name=gcr.io/distroless/cc-debian12:nonroot

        # The same on CUDA's libraries.
        FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04 AS api.cuda
        COPY --from=pdfium /tree/ /
        COPY --from=worker.native /tree/ /
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
        COPY --from=tree --chown=65532:65532 /empty/ /data/files/
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
            PYTHONUNBUFFERED=1 \
            PYTHONDONTWRITEBYTECODE=1 \
            HOME=/tmp \
            PYTHONPATH=/app \
            PLIMSOLL_SUCCESS_EXIT_CODES=0,143 \
            UVICORN_PORT=8000 \
            PLIMSOLL_APP_PORT=8000 \
            PLIMSOLL_SERVICE=api \
            PLIMSOLL_INGRESS=0.0.0.0:8080
        WORKDIR /app
        USER 65532:65532
        EXPOSE 8080
        HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
            CMD ["/usr/local/bin/plimsoll-run", "probe", "ready"]
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        CMD ["uvicorn", "app.main:app"]
        # Last, since they change with every commit.
        ARG VERSION=0.0.0-dev
        ARG REVISION=unknown
        ARG SOURCE=
        ENV PLIMSOLL_RELEASE=${VERSION}
        LABEL org.opencontainers.image.title=api \
              org.opencontainers.image.vendor=trade \
              org.opencontainers.image.version="${VERSION}" \
              org.opencontainers.image.revision="${REVISION}" \
              org.opencontainers.image.source="${SOURCE}" \
              org.opencontainers.image.base.name=nvidia/cuda:12.6.3-runtime-ubuntu24.04

        FROM gcr.io/distroless/cc-debian12:nonroot AS api
        COPY --from=pdfium /tree/ /
        COPY --from=worker.native /tree/ /
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
        COPY --from=tree --chown=65532:65532 /empty/ /data/files/
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
            PYTHONUNBUFFERED=1 \
            PYTHONDONTWRITEBYTECODE=1 \
            HOME=/tmp \
            PYTHONPATH=/app \
            PLIMSOLL_SUCCESS_EXIT_CODES=0,143 \
            UVICORN_PORT=8000 \
            PLIMSOLL_APP_PORT=8000 \
            PLIMSOLL_SERVICE=api \
            PLIMSOLL_INGRESS=0.0.0.0:8080
        WORKDIR /app
        USER 65532:65532
        EXPOSE 8080
        HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
            CMD ["/usr/local/bin/plimsoll-run", "probe", "ready"]
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        CMD ["uvicorn", "app.main:app"]
        # Last, since they change with every commit.
        ARG VERSION=0.0.0-dev
        ARG REVISION=unknown
        ARG SOURCE=
        ENV PLIMSOLL_RELEASE=${VERSION}
        LABEL org.opencontainers.image.title=api \
              org.opencontainers.image.vendor=trade \
              org.opencontainers.image.version="${VERSION}" \
              org.opencontainers.image.revision="${REVISION}" \
              org.opencontainers.image.source="${SOURCE}" \
              org.opencontainers.image.base.name=gcr.io/distroless/cc-debian12:nonroot
    "##]],
    );
}

#[test]
fn pip_tools_asks_for_the_hashes_that_it_wrote() {
    let services = "
  a: {path: a, language: python@3.12, package_manager: pip-tools, run: python -m app}";
    let files = &[
        ("a/requirements.in", r#"flask"#),
        ("a/requirements.txt", r#"flask==3 --hash=sha256:aa"#),
    ];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM python:3.12-bookworm AS dependencies
        ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
            PIP_ROOT_USER_ACTION=ignore \
            VIRTUAL_ENV=/opt/venv \
            PATH=/opt/venv/bin:$PATH
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY requirements.txt ./
        RUN --mount=type=cache,target=/root/.cache/pip \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            python -m venv --without-pip /opt/venv && \
            pip --python /opt/venv install --require-hashes --requirement requirements.txt

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        # Compiled here, since an image cannot be written; what does not compile is left as it is.
        RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app || true

        # The interpreter without what only installs or draws, and what it and the packages link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /tree/usr/local
        RUN mkdir -p bin lib /empty && \
            cp -a /usr/local/bin/python /usr/local/bin/python3 /usr/local/bin/python3.12 bin/ && \
            cp -a /usr/local/lib/python3.12 lib/ && \
            rm -rf lib/python3.12/{ensurepip,idlelib,tkinter,turtledemo,lib-dynload/_tkinter*} && \
            find lib/python3.12/site-packages -mindepth 1 -delete && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /opt/venv /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
    "#]],
    );
}

#[test]
fn uv_installs_from_its_lock_file() {
    let services = "
  a: {path: a, language: python, package_manager: uv, run: uv run app}";
    let files = &[];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM python:3.13-bookworm AS dependencies
        ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
            PIP_ROOT_USER_ACTION=ignore \
            VIRTUAL_ENV=/opt/venv \
            UV_PROJECT_ENVIRONMENT=/opt/venv \
            UV_LINK_MODE=copy \
            UV_PYTHON_DOWNLOADS=never \
            PATH=/opt/venv/bin:/opt/uv/bin:$PATH
        RUN --mount=type=cache,target=/root/.cache \
            python -m venv /opt/uv && /opt/uv/bin/pip install uv==0.13.9
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY pyproject.toml uv.lock ./
        RUN --mount=type=cache,target=/root/.cache \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            python -m venv --without-pip /opt/venv && \
            uv sync --frozen --no-dev --no-install-workspace

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .
        RUN --mount=type=cache,target=/root/.cache \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            uv sync --frozen --no-dev

        FROM sources AS build
        # Compiled here, since an image cannot be written; what does not compile is left as it is.
        RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app || true

        # The interpreter without what only installs or draws, and what it and the packages link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /tree/usr/local
        RUN mkdir -p bin lib /empty && \
            cp -a /usr/local/bin/python /usr/local/bin/python3 /usr/local/bin/python3.13 bin/ && \
            cp -a /usr/local/lib/python3.13 lib/ && \
            rm -rf lib/python3.13/{ensurepip,idlelib,tkinter,turtledemo,lib-dynload/_tkinter*} && \
            find lib/python3.13/site-packages -mindepth 1 -delete && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /opt/venv /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
    "#]],
    );
}

#[test]
fn pdm_installs_from_its_lock_file() {
    let services = "
  a: {path: a, language: python, package_manager: pdm, run: app}";
    let files = &[];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM python:3.13-bookworm AS dependencies
        ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
            PIP_ROOT_USER_ACTION=ignore \
            VIRTUAL_ENV=/opt/venv \
            PDM_CHECK_UPDATE=false \
            PATH=/opt/venv/bin:/opt/pdm/bin:$PATH
        RUN --mount=type=cache,target=/root/.cache \
            python -m venv /opt/pdm && /opt/pdm/bin/pip install pdm==2.29.4
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY pyproject.toml pdm.lock ./
        RUN --mount=type=cache,target=/root/.cache \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            python -m venv --without-pip /opt/venv && \
            pdm sync --prod --no-self

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .
        RUN --mount=type=cache,target=/root/.cache \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            pdm sync --prod

        FROM sources AS build
        # Compiled here, since an image cannot be written; what does not compile is left as it is.
        RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app || true

        # The interpreter without what only installs or draws, and what it and the packages link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /tree/usr/local
        RUN mkdir -p bin lib /empty && \
            cp -a /usr/local/bin/python /usr/local/bin/python3 /usr/local/bin/python3.13 bin/ && \
            cp -a /usr/local/lib/python3.13 lib/ && \
            rm -rf lib/python3.13/{ensurepip,idlelib,tkinter,turtledemo,lib-dynload/_tkinter*} && \
            find lib/python3.13/site-packages -mindepth 1 -delete && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /opt/venv /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
        COPY --from=build /opt/venv/ /opt/venv/
        COPY --from=build /app/ /app/
    "#]],
    );
}

#[test]
fn a_pnpm_server_starts_without_pnpm() {
    let services = "
  a: {path: a, port: 3000}";
    let files = &[
        ("a/pnpm-lock.yaml", r#""#),
        (
            "a/package.json",
            r#"{"packageManager": "pnpm@10.2.0", "scripts": {"build": "tsc", "start": "node dist/main.js"}}"#,
        ),
    ];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM node:24-bookworm AS dependencies
        ENV COREPACK_ENABLE_DOWNLOAD_PROMPT=0 \
            CI=true \
            npm_config_store_dir=/pnpm/store \
            npm_config_prefer_symlinked_executables=true
        RUN corepack enable && corepack install --global pnpm@10.2.0
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY pnpm-lock.yaml ./
        RUN --mount=type=cache,target=/pnpm/store \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            pnpm fetch

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .
        RUN --mount=type=cache,target=/pnpm/store \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            pnpm install --frozen-lockfile --prefer-offline

        FROM sources AS build
        WORKDIR /app
        RUN pnpm run build

        # Without what only building needs, and what Node and native addons link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /app
        RUN --mount=type=cache,target=/pnpm/store \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            pnpm install --prod --frozen-lockfile --prefer-offline --ignore-scripts && \
            mkdir -p /empty /tree/usr/local/bin && \
            cp /usr/local/bin/node /tree/usr/local/bin/node && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /app /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
        COPY --from=tree /app/ /app/
    "#]],
    );
}

#[test]
fn an_npm_workspace_installs_before_its_sources_are_there() {
    let services = "
  a: {path: a, port: 3000, run: npm run serve}";
    let files = &[
        ("a/package-lock.json", r#""#),
        (
            "a/package.json",
            r#"{"workspaces": ["packages/*"], "scripts": {"serve": "tsx src/main.ts --port 1"}}"#,
        ),
    ];
    check_stages(
        services,
        files,
        &expect![[r##"
        # Only what decides the dependencies: as long as that stays the same, so does all that follows.
        FROM node:24-bookworm AS manifests
        WORKDIR /app
        COPY . .
        RUN find . -type f ! -name package.json ! -name package-lock.json \
                ! -name yarn.lock ! -name .yarnrc.yml ! -path './.yarn/*' -delete && \
            find . -type d -empty -delete

        FROM node:24-bookworm AS dependencies
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY --from=manifests /app ./
        RUN --mount=type=cache,target=/root/.npm \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            npm ci --no-audit --no-fund

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        WORKDIR /app

        # Without what only building needs, and what Node and native addons link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        WORKDIR /app
        RUN --mount=type=cache,target=/root/.npm \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            npm prune --omit=dev --no-audit --no-fund && \
            mkdir -p /empty /tree/usr/local/bin && \
            cp /usr/local/bin/node /tree/usr/local/bin/node && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /app /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
        COPY --from=tree /app/ /app/
    "##]],
    );
}

#[test]
fn a_yarn_site_is_served_without_node() {
    let services = "
  a: {path: a, language: node@22, package_manager: yarn, build: yarn build, static: dist, port: 3000}";
    let files = &[];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM node:22-bookworm AS dependencies
        ENV COREPACK_ENABLE_DOWNLOAD_PROMPT=0 \
            YARN_CACHE_FOLDER=/yarn
        RUN corepack enable && corepack install --global yarn@1.22.22
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY package.json yarn.lock ./
        RUN --mount=type=cache,target=/yarn \
            --mount=type=secret,id=npmrc,target=/root/.npmrc \
            yarn install --frozen-lockfile --non-interactive

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        WORKDIR /app
        RUN yarn build

        FROM gcr.io/distroless/static-debian12:nonroot AS a
        COPY --from=build /app/dist/ /site/
    "#]],
    );
}

#[test]
fn a_next_server_has_only_what_its_build_gathered() {
    let services = "
  a: {path: a, port: 3000}";
    let files = &[
        ("a/yarn.lock", r#""#),
        ("a/.yarnrc.yml", r#"yarnPath: .yarn/releases/yarn-4.cjs"#),
        ("a/next.config.js", r#""#),
        ("a/package.json", r#"{"dependencies": {"next": "15"}}"#),
    ];
    check_stages(
        services,
        files,
        &expect![[r#"
            FROM node:24-bookworm AS dependencies
            ENV COREPACK_ENABLE_DOWNLOAD_PROMPT=0 \
                YARN_GLOBAL_FOLDER=/yarn \
                YARN_ENABLE_TELEMETRY=false \
                YARN_NODE_LINKER=node-modules \
                NEXT_TELEMETRY_DISABLED=1
            RUN corepack enable && corepack install --global yarn@1.22.22
            WORKDIR /app
            # From the lock file alone: this is done anew only when that changes.
            COPY package.json yarn.lock .yarnrc.yml ./
            COPY .yarn/releases/ .yarn/releases/
            RUN --mount=type=cache,target=/yarn \
                --mount=type=secret,id=npmrc,target=/root/.npmrc \
                yarn install --immutable

            # Everything that working on it needs: what a developer's container is made from.
            FROM dependencies AS sources
            COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
            ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
            COPY . .

            FROM sources AS build
            WORKDIR /app
            RUN export NEXT_PRIVATE_STANDALONE=true; node_modules/.bin/next build

            # What `next build` gathered for a server, and what Node and native addons link.
            FROM build AS tree
            SHELL ["/bin/bash", "-o", "pipefail", "-c"]
            RUN mkdir -p /empty /tree/app/.next /tree/usr/local/bin && \
                cp /usr/local/bin/node /tree/usr/local/bin/node && \
                cp -a .next/standalone/. /tree/app/ && \
                cp -a .next/static /tree/app/.next/ && \
                if [ -d public ]; then cp -a public /tree/app/; fi && \
                libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
                mkdir -p "$libraries" && \
                { find /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
                sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
                sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
                xargs -r cp --dereference --target-directory="$libraries"

            FROM gcr.io/distroless/cc-debian12:nonroot AS a
            COPY --from=tree /tree/ /
        "#]],
    );
}

#[test]
fn rust_compiles_dependencies_before_its_sources_are_there() {
    let services = "
  a: {path: a, language: rust, run: cargo run --bin api -- --verbose, migrate: ./target/debug/migrate up}";
    let files = &[];
    check_stages(
        services,
        files,
        &expect![[r##"
        # Every source file empty: what is compiled of this is the dependencies, and as long as neither the
        # lock file nor a manifest changes, that is not done again.
        FROM rust:1.95-bookworm AS manifests
        WORKDIR /app
        COPY . .
        RUN find . -type f ! -name '*.rs' ! -name Cargo.toml ! -name Cargo.lock \
                ! -name rust-toolchain.toml ! -path './.cargo/*' -delete && \
            echo 'fn main() {}' > /empty.rs && \
            find . -name '*.rs' -exec cp /empty.rs '{}' \; && \
            find . -type d -empty -delete

        FROM rust:1.95-bookworm AS dependencies
        WORKDIR /app
        COPY --from=manifests /app ./
        RUN --mount=type=cache,target=/usr/local/cargo/registry \
            --mount=type=secret,id=cargo,target=/usr/local/cargo/credentials.toml \
            cargo build --locked --release --bin api --bin migrate

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        # Newer than what was compiled of the empty files.
        RUN --mount=type=cache,target=/usr/local/cargo/registry \
            --mount=type=secret,id=cargo,target=/usr/local/cargo/credentials.toml \
            find . -path ./target -prune -o -name '*.rs' -exec touch {} + && \
            cargo build --locked --release --bin api --bin migrate

        # The programs, and what they link.
        FROM build AS tree
        SHELL ["/bin/bash", "-o", "pipefail", "-c"]
        RUN mkdir -p /empty && \
            install -D --strip --target-directory=/tree/usr/local/bin \
                target/release/api \
                target/release/migrate && \
            libraries="/tree/usr/lib/$(uname -m)-linux-gnu" && \
            mkdir -p "$libraries" && \
            { find /tree -type f \( -name '*.so*' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } | \
            sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u | \
            sed -E '/^\/(opt|tree)\/|\/(ld-linux.*|lib(anl|c|dl|gcc_s|m|mvec|pthread|resolv|rt|stdc\+\+|util))\.so/d' | \
            xargs -r cp --dereference --target-directory="$libraries"

        FROM gcr.io/distroless/cc-debian12:nonroot AS a
        COPY --from=tree /tree/ /
    "##]],
    );
}

#[test]
fn go_programs_stand_in_an_image_without_libraries() {
    let services = "
  a: {path: a, run: go run ./cmd/api, port: 80}";
    let files = &[
        (
            "a/go.mod",
            r#"module example.com/shop

go 1.24
"#,
        ),
        ("a/go.sum", r#""#),
    ];
    check_stages(
        services,
        files,
        &expect![[r#"
        FROM golang:1.24-bookworm AS dependencies
        ENV CGO_ENABLED=0
        WORKDIR /app
        # From the lock file alone: this is done anew only when that changes.
        COPY go.mod go.sum ./
        RUN --mount=type=cache,target=/go/pkg/mod \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            go mod download

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        WORKDIR /app
        RUN --mount=type=cache,target=/go/pkg/mod \
            --mount=type=cache,target=/root/.cache/go-build \
            --mount=type=secret,id=netrc,target=/root/.netrc \
            mkdir -p /tree/usr/local/bin && \
            go build -trimpath -ldflags='-s -w' -o /tree/usr/local/bin/ ./...

        FROM build AS tree
        RUN mkdir /empty

        FROM gcr.io/distroless/static-debian12:nonroot AS a
        COPY --from=tree /tree/ /
    "#]],
    );
}

#[test]
fn a_jar_of_maven_has_one_name_in_its_image() {
    let services = "
  a: {path: a, language: java@21, package_manager: maven, run: java -Xss1m -jar target/shop-1.0.jar --fast, port: 8080}";
    let files = &[];
    check_stages(
        services,
        files,
        &expect![[r##"
        # Only what decides the dependencies: as long as that stays the same, so does all that follows.
        FROM maven:3-eclipse-temurin-21 AS manifests
        WORKDIR /app
        COPY . .
        RUN find . -type f ! -name pom.xml ! -path './.mvn/*' -delete && \
            find . -type d -empty -delete

        FROM maven:3-eclipse-temurin-21 AS dependencies
        WORKDIR /app
        # From the build files alone: this is done anew only when those change.
        COPY --from=manifests /app ./
        RUN --mount=type=cache,target=/root/.m2/repository \
            --mount=type=secret,id=maven,target=/root/.m2/settings.xml \
            mvn --batch-mode --fail-never dependency:go-offline

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        RUN --mount=type=cache,target=/root/.m2/repository \
            --mount=type=secret,id=maven,target=/root/.m2/settings.xml \
            mvn --batch-mode -DskipTests package

        FROM build AS tree
        WORKDIR /app
        RUN mkdir -p /empty /tree/app && \
            find target -maxdepth 1 -name '*.jar' ! -name 'original-*' ! -name '*-plain.jar' \
                ! -name '*-sources.jar' ! -name '*-javadoc.jar' -exec cp {} /tree/app/app.jar \;

        FROM gcr.io/distroless/java21-debian12:nonroot AS a
        COPY --from=tree /tree/app/ /app/
    "##]],
    );
}

#[test]
fn a_jar_of_gradle_is_built_by_the_wrapper() {
    let services = "
  a: {path: a, port: 8080, run: ./gradlew bootRun}";
    let files = &[("a/build.gradle.kts", r#""#), ("a/gradlew", r#""#)];
    check_stages(
        services,
        files,
        &expect![[r##"
        # Only what decides the dependencies: as long as that stays the same, so does all that follows.
        FROM eclipse-temurin:21-jdk AS manifests
        WORKDIR /app
        COPY . .
        RUN find . -type f ! -name '*.gradle*' ! -name gradle.properties ! -name gradlew \
                ! -path './gradle/*' -delete && \
            find . -type d -empty -delete

        FROM eclipse-temurin:21-jdk AS dependencies
        WORKDIR /app
        # From the build files alone: this is done anew only when those change.
        COPY --from=manifests /app ./
        RUN --mount=type=cache,target=/root/.gradle/caches \
            --mount=type=secret,id=gradle,target=/root/.gradle/gradle.properties \
            ./gradlew --no-daemon dependencies

        # Everything that working on it needs: what a developer's container is made from.
        FROM dependencies AS sources
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        COPY . .

        FROM sources AS build
        RUN --mount=type=cache,target=/root/.gradle/caches \
            --mount=type=secret,id=gradle,target=/root/.gradle/gradle.properties \
            ./gradlew --no-daemon assemble

        FROM build AS tree
        WORKDIR /app
        RUN mkdir -p /empty /tree/app && \
            find build/libs -maxdepth 1 -name '*.jar' ! -name 'original-*' ! -name '*-plain.jar' \
                ! -name '*-sources.jar' ! -name '*-javadoc.jar' -exec cp {} /tree/app/app.jar \;

        FROM gcr.io/distroless/java21-debian12:nonroot AS a
        COPY --from=tree /tree/app/ /app/
    "##]],
    );
}

#[test]
fn nginx_sends_a_site_behind_plimsoll_run() {
    let services = "
  a: {path: a, port: 4173, static: {dir: ., spa: false, server: nginx, csp: \"default-src 'self'\"}}";
    check(
        services,
        &[],
        "a/Dockerfile",
        &expect![[r##"
        # Written by `plimsoll render` from plimsoll.yaml.
        #
        # Images: `a`
        # Build one: docker build --target a --file a/Dockerfile a
        # Build all: docker buildx bake

        FROM ghcr.io/plimsoll/plimsoll-run:0.1.0 AS plimsoll

        # The site, with a compressed form beside each file that is worth it.
        FROM debian:bookworm-slim AS a.site
        COPY . /site/
        RUN rm -f /site/nginx.conf && \
            find /site -type f -size +1k \
                \( -name '*.css' -o -name '*.html' -o -name '*.js' -o -name '*.json' -o -name '*.map' \
                -o -name '*.mjs' -o -name '*.svg' -o -name '*.txt' -o -name '*.wasm' -o -name '*.xml' \) \
                -exec gzip --keep --force --best {} +

        FROM nginxinc/nginx-unprivileged:1.28-alpine-slim AS a
        COPY --from=a.site /site/ /site/
        COPY nginx.conf /etc/nginx/nginx.conf
        COPY --from=plimsoll /plimsoll-run /usr/local/bin/plimsoll-run
        ENV PLIMSOLL_SERVICE=a \
            PLIMSOLL_INGRESS=0.0.0.0:4173 \
            PLIMSOLL_APP_PORT=8081 \
            PLIMSOLL_SIGNAL_REWRITE=TERM:QUIT
        WORKDIR /site
        USER 65532:65532
        EXPOSE 4173
        HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
            CMD ["/usr/local/bin/plimsoll-run", "probe", "ready"]
        ENTRYPOINT ["/usr/local/bin/plimsoll-run", "--"]
        CMD ["nginx"]
        # Last, since they change with every commit.
        ARG VERSION=0.0.0-dev
        ARG REVISION=unknown
        ARG SOURCE=
        ENV PLIMSOLL_RELEASE=${VERSION}
        LABEL org.opencontainers.image.title=a \
              org.opencontainers.image.vendor=trade \
              org.opencontainers.image.version="${VERSION}" \
              org.opencontainers.image.revision="${REVISION}" \
              org.opencontainers.image.source="${SOURCE}" \
              org.opencontainers.image.base.name=nginxinc/nginx-unprivileged:1.28-alpine-slim
    "##]],
    );
    check(
        services,
        &[],
        "a/nginx.conf",
        &expect![[r##"
        # Written by `plimsoll render` from plimsoll.yaml: how nginx sends the site of `a`.
        # `plimsoll run` in front of it takes the requests, answers /live, /ready and /health, and writes
        # the access log.
        daemon off;
        worker_processes 1;
        pid /tmp/nginx.pid;
        error_log stderr warn;

        events {
            worker_connections 1024;
        }

        http {
            include /etc/nginx/mime.types;
            default_type application/octet-stream;
            access_log off;
            server_tokens off;
            sendfile on;
            tcp_nopush on;
            keepalive_timeout 75s;

            # The root cannot be written.
            client_body_temp_path /tmp/client;
            fastcgi_temp_path /tmp/fastcgi;
            proxy_temp_path /tmp/proxy;
            scgi_temp_path /tmp/scgi;
            uwsgi_temp_path /tmp/uwsgi;

            # What the image has compressed already is sent as it is.
            gzip_static on;
            gzip on;
            gzip_vary on;
            gzip_proxied any;
            gzip_min_length 1024;
            gzip_types
                application/javascript application/json application/manifest+json application/wasm
                application/xml image/svg+xml text/css text/javascript text/plain;

            # A name that a bundler made of the content is never asked for again.
            map $uri $cache_control {
                default "no-cache";
                "~/(assets|_next|_app|_astro|static|build)/.*[-.][0-9A-Za-z_]{8,}\.[0-9a-z.]+$" "public, max-age=31536000, immutable";
            }

            server {
                listen 127.0.0.1:8081;
                root /site;
                index index.html;
                absolute_redirect off;

                add_header Content-Security-Policy "default-src 'self'" always;
                add_header Cross-Origin-Opener-Policy "same-origin" always;
                add_header Referrer-Policy "strict-origin-when-cross-origin" always;
                add_header X-Content-Type-Options "nosniff" always;
                add_header X-Frame-Options "SAMEORIGIN" always;
                add_header X-Permitted-Cross-Domain-Policies "none" always;
                add_header Cache-Control $cache_control;

                location ~ /\.(?!well-known/) {
                    return 404;
                }

                location / {
                    try_files $uri $uri/index.html =404;
                }
            }
        }
    "##]],
    );
}
