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

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// network is the IP network of a real node: 10.X.0.0/16, where X is the value. It is routed to the
// node, so processes of the machine reach Pods and Services.
type network int

// Networks that clusters use. The machine's own networks are skipped.
const firstNetwork, lastNetwork network = 208, 223

func (n network) CIDR() string     { return fmt.Sprintf("10.%d.0.0/16", n) }
func (n network) Pods() string     { return fmt.Sprintf("10.%d.0.0/17", n) }
func (n network) Services() string { return fmt.Sprintf("10.%d.128.0/18", n) }

// KubernetesService is the address of the Service kubernetes: always the first of the range.
func (n network) KubernetesService() string { return fmt.Sprintf("10.%d.128.1", n) }

// DNS is the address of the Service kube-dns.
func (n network) DNS() string { return fmt.Sprintf("10.%d.128.10", n) }

// Host and Node are the addresses of both ends of the link between the machine and the node.
func (n network) Host() string { return fmt.Sprintf("10.%d.255.1", n) }
func (n network) Node() string { return fmt.Sprintf("10.%d.255.2", n) }

// connect creates a link from the machine to the network namespace of the process pid, and routes a
// free network to it. All of it vanishes with the namespace.
func connect(ctx context.Context, packages debianPackages, link string, pid int) (network, error) {
	for _, args := range [][]string{
		{"link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)},
		{"link", "set", link, "up"},
	} {
		if _, err := packages.run(ctx, "ip", args...); err != nil {
			return 0, err
		}
	}
	routes, err := packages.run(ctx, "ip", "-4", "-oneline", "route", "show")
	if err != nil {
		return 0, err
	}
	var errs []error
	for n := firstNetwork; n <= lastNetwork; n++ {
		if overlapsRoute(routes, n) {
			continue
		}
		// This fails if another cluster has added the same route in the meantime.
		if _, err := packages.run(ctx, "ip", "route", "add", n.CIDR(), "via", n.Node(), "dev", link, "onlink"); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := packages.run(ctx, "ip", "address", "add", n.Host()+"/30", "dev", link)
		return n, err
	}
	return 0, fmt.Errorf("no free network between %s and %s: %w", firstNetwork.CIDR(), lastNetwork.CIDR(), errors.Join(errs...))
}

// overlapsRoute reports whether the output of ip route show has a route, other than the default,
// to an address in n.
func overlapsRoute(routes string, n network) bool {
	cidr := netip.MustParsePrefix(n.CIDR())
	for line := range strings.Lines(routes) {
		destination, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if address, err := netip.ParseAddr(destination); err == nil && cidr.Contains(address) {
			return true
		}
		if prefix, err := netip.ParsePrefix(destination); err == nil && prefix.Overlaps(cidr) {
			return true
		}
	}
	return false
}
