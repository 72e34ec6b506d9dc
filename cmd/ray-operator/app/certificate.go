package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"
)

// getCertificate is what a tls.Config has to find its certificate at each handshake.
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// newCertificate returns the certificate of two files, which are read again when they change.
// Without files it is one that is made, and signed by itself, at the first handshake: most
// operators are never asked.
func newCertificate(certFile, keyFile string) (getCertificate, error) {
	if certFile != "" {
		files := &certificateFiles{cert: certFile, key: keyFile}
		return files.get, files.load()
	}
	return (&selfSigned{}).get, nil
}

// renewBefore is how long before its end the certificate is replaced that the operator signs
// itself. It is valid for a year.
const renewBefore = 30 * 24 * time.Hour

// selfSigned is a certificate that the operator makes.
type selfSigned struct {
	mu      sync.Mutex
	current *tls.Certificate
}

// get returns a certificate that is valid for some time yet.
func (s *selfSigned) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && time.Until(s.current.Leaf.NotAfter) > renewBefore {
		return s.current, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	cert, key, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	s.current = &pair
	return s.current, nil
}

// certificateFiles is a certificate in two files.
type certificateFiles struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	// changed is when the files had last changed when they were read.
	changed [2]time.Time
}

// get returns the certificate of the files as they are now. If they cannot be used, as while
// they are being replaced, it is the one from before.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != f.lastChange() {
		if err := f.load(); err != nil {
			klog.Background().Error(err, "The new certificate cannot be used, the old one still is")
		}
	}
	return f.current, nil
}

// load reads the files.
func (f *certificateFiles) load() error {
	changed := f.lastChange()
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", f.cert, f.key, err)
	}
	f.current, f.changed = &pair, changed
	return nil
}

// lastChange returns when the files have last changed. One that is not there never has.
func (f *certificateFiles) lastChange() [2]time.Time {
	var times [2]time.Time
	for i, name := range []string{f.cert, f.key} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}
