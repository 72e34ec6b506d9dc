# Copyright 2026 The ray-operator Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# Both images can be overridden, for example with copies in a private registry.
ARG BUILDER_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Cross-compile on the build platform, for example with
# docker buildx build --platform linux/amd64,linux/arm64
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BUILDER_IMAGE} AS builder
ARG VERSION=unknown
ARG TARGETOS=linux
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
COPY vendor vendor
COPY cmd cmd
COPY pkg pkg
# Dependencies are vendored, so this requires no network. Keep the flags in sync with hack/release.sh.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOFLAGS=-mod=vendor GOPROXY=off \
    go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/kubeflow/ray-operator/cmd/ray-operator/app.Version=${VERSION}" \
    -o /ray-operator ./cmd/ray-operator

FROM ${BASE_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="ray-operator" \
      org.opencontainers.image.description="Runs Ray clusters on Kubernetes" \
      org.opencontainers.image.source="https://github.com/kubeflow/ray-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=builder /ray-operator /ray-operator
# Numeric, since Kubernetes cannot verify runAsNonRoot for a user name.
USER 65532:65532
ENTRYPOINT ["/ray-operator"]
