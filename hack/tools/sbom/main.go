/*
Copyright 2026 The ray-operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

// Command sbom writes the software bill of materials of a Go binary to standard output, as
// CycloneDX JSON. It contains the modules that the linker recorded in the binary, as printed by
// `go version -m`. The output is reproducible: it has no timestamp and no random serial number.
//
//	sbom -version v1.2.3 BINARY
package main

import (
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "Version of the binary, such as v1.2.3.")
	flag.Parse()
	if err := run(*version, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(version string, args []string, out io.Writer) error {
	if version == "" || len(args) != 1 {
		return errors.New("usage: sbom -version v1.2.3 BINARY")
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	encoder := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	// Not all scanners support newer versions of CycloneDX.
	return encoder.EncodeVersion(bill(info, version), cdx.SpecVersion1_6)
}

// bill returns the bill of materials of a binary: its main module in that version, and its
// dependencies.
func bill(info *debug.BuildInfo, version string) *cdx.BOM {
	// The build info of a main module has no version.
	main := module(cdx.ComponentTypeApplication, info.Main.Path, version, settings(info, "GOOS", "GOARCH"))
	// The name of the standard library in vulnerability databases.
	components := []cdx.Component{module(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"), nil)}
	for _, dependency := range info.Deps {
		if dependency.Replace != nil {
			dependency = dependency.Replace
		}
		components = append(components, module(cdx.ComponentTypeLibrary, dependency.Path, dependency.Version, nil))
	}
	references := make([]string, 0, len(components))
	for _, component := range components {
		references = append(references, component.BOMRef)
	}

	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &main}
	bom.Components = &components
	// A binary does not record which module requires which.
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &references}}
	return bom
}

// module returns a component for a Go module, with a package URL as its reference:
// https://github.com/package-url/purl-spec.
func module(kind cdx.ComponentType, path, version string, qualifiers url.Values) cdx.Component {
	purl := "pkg:golang/" + path + "@" + url.PathEscape(version)
	if len(qualifiers) > 0 {
		purl += "?" + qualifiers.Encode()
	}
	return cdx.Component{BOMRef: purl, Type: kind, Name: path, Version: version, PackageURL: purl}
}

// settings returns the build settings with these keys, in lower case as in package URLs.
func settings(info *debug.BuildInfo, keys ...string) url.Values {
	values := url.Values{}
	for _, setting := range info.Settings {
		for _, key := range keys {
			if setting.Key == key {
				values.Set(strings.ToLower(key), setting.Value)
			}
		}
	}
	return values
}
