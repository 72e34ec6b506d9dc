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
	"net/netip"
	"testing"
)

func TestNetworkRanges(t *testing.T) {
	for n := firstNetwork; n <= lastNetwork; n++ {
		cidr, pods, services := netip.MustParsePrefix(n.CIDR()), netip.MustParsePrefix(n.Pods()), netip.MustParsePrefix(n.Services())
		host, node := netip.MustParseAddr(n.Host()), netip.MustParseAddr(n.Node())
		if pods.Overlaps(services) {
			t.Errorf("Pods %s and Services %s overlap", pods, services)
		}
		for _, address := range []netip.Addr{pods.Addr(), services.Addr(), host, node} {
			if !cidr.Contains(address) {
				t.Errorf("network %s does not contain %s", cidr, address)
			}
		}
		if dns := netip.MustParseAddr(n.DNS()); !services.Contains(dns) {
			t.Errorf("the range %s of Services does not contain the address %s of kube-dns", services, dns)
		}
		for _, address := range []netip.Addr{host, node} {
			if pods.Contains(address) || services.Contains(address) {
				t.Errorf("address %s of the link is in the range of Pods or Services", address)
			}
		}
		if want := services.Addr().Next().String(); n.KubernetesService() != want {
			t.Errorf("address of the Service kubernetes = %s, want %s", n.KubernetesService(), want)
		}
	}
}

func TestOverlapsRoute(t *testing.T) {
	for _, test := range []struct {
		name, routes string
		want         bool
	}{
		{"no routes", "", false},
		{"default route", "default via 192.0.2.1 dev eth0 \n", false},
		{"other networks", "10.207.0.0/16 dev a\n10.209.0.0/16 dev b\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 \n", false},
		{"same network", "10.207.0.0/16 dev a\n10.208.0.0/16 via 10.208.255.2 dev b\n", true},
		{"network inside", "10.208.7.0/24 dev a\n", true},
		{"network around", "10.0.0.0/8 dev a\n", true},
		{"address inside", "10.208.7.1 dev a\n", true},
	} {
		if got := overlapsRoute(test.routes, 208); got != test.want {
			t.Errorf("%s: overlapsRoute = %t, want %t", test.name, got, test.want)
		}
	}
}
