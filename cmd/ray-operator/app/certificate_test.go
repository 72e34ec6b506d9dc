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

package app

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSelfSignedCertificateIsRenewed gets the certificate once a day for three years.
func TestSelfSignedCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get, err := newCertificate("", "")
		if err != nil {
			t.Fatal(err)
		}
		serials := map[string]bool{}
		for range 3 * 365 {
			certificate, err := get(nil)
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(certificate.Leaf.NotAfter); left < renewBefore {
				t.Fatalf("certificate expires in %s, want at least %s", left, renewBefore)
			}
			serials[certificate.Leaf.SerialNumber.String()] = true
			time.Sleep(24 * time.Hour)
		}
		if len(serials) != 4 {
			t.Errorf("got %d certificates in three years, want 4", len(serials))
		}
	})
}
