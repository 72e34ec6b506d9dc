package app

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSelfSignedCertificateIsRenewed looks at the certificate once a day for three years.
func TestSelfSignedCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get, err := newCertificate("", "")
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]bool{}
		for range 3 * 365 {
			certificate, err := get(nil)
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(certificate.Leaf.NotAfter); left < renewBefore {
				t.Fatalf("the certificate is valid for %s only", left)
			}
			made[certificate.Leaf.SerialNumber.String()] = true
			time.Sleep(24 * time.Hour)
		}
		if len(made) != 4 {
			t.Errorf("in three years %d certificates were made, want 4", len(made))
		}
	})
}
