// Command sbom writes the software bill of materials of a Go binary to standard output, as
// CycloneDX JSON. It says what `go version -m` says: the linker has put the modules into the
// binary. The same binary gives the same bytes, as there is no time in it and no random number.
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
	version := flag.String("version", "", "The version of the binary, such as v1.2.3.")
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
	// Scanners read it; not all read what is newer.
	return encoder.EncodeVersion(bill(info, version), cdx.SpecVersion1_6)
}

// bill returns the bill of materials of a binary: its module in that version, and what it is
// linked with.
func bill(info *debug.BuildInfo, version string) *cdx.BOM {
	// A module that was built in its own tree does not know its version.
	main := module(cdx.ComponentTypeApplication, info.Main.Path, version, settings(info, "GOOS", "GOARCH"))
	// The name that vulnerability databases give to the standard library.
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
	// Which of the modules needs which is not in a binary.
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &references}}
	return bom
}

// module returns a component for a Go module, named as in https://github.com/package-url/purl-spec.
func module(kind cdx.ComponentType, path, version string, qualifiers url.Values) cdx.Component {
	purl := "pkg:golang/" + path + "@" + url.PathEscape(version)
	if len(qualifiers) > 0 {
		purl += "?" + qualifiers.Encode()
	}
	return cdx.Component{BOMRef: purl, Type: kind, Name: path, Version: version, PackageURL: purl}
}

// settings returns those of the build that have these keys, in lower case as purls have them.
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
