# Both images can be replaced, say by copies in a registry of your own.
ARG BUILDER_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILDER_IMAGE} AS builder
ARG VERSION=unknown
WORKDIR /src
COPY go.mod go.sum ./
COPY vendor vendor
COPY cmd cmd
COPY pkg pkg
# The dependencies are vendored: this needs no network. The same flags as in the Makefile.
RUN CGO_ENABLED=0 GOFLAGS=-mod=vendor GOPROXY=off go build -trimpath \
    -ldflags "-s -w -X github.com/kubeflow/ray-operator/cmd/ray-operator/app.Version=${VERSION}" \
    -o /ray-operator ./cmd/ray-operator

FROM ${BASE_IMAGE}
COPY --from=builder /ray-operator /ray-operator
# The number, not the name: with a name, Kubernetes cannot tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/ray-operator"]
