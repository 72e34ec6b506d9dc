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
