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
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"
)

// getCertificate is the type of tls.Config.GetCertificate, which is called for each handshake.
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// newCertificate returns the certificate in the given files, which are reloaded when they
// change. Without files it returns a self-signed certificate. That one is generated at the
// first handshake, since generation costs CPU and most operators never get a request.
func newCertificate(certFile, keyFile string) (getCertificate, error) {
	if certFile != "" {
		files := &certificateFiles{cert: certFile, key: keyFile}
		return files.get, files.load()
	}
	return (&selfSigned{}).get, nil
}

// renewBefore is how long before its expiry the self-signed certificate is renewed. It is
// valid for a year.
const renewBefore = 30 * 24 * time.Hour

// selfSigned generates and renews a self-signed certificate.
type selfSigned struct {
	mu      sync.Mutex
	current *tls.Certificate
}

// get returns a certificate that is valid for at least renewBefore.
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

// certificateFiles loads a certificate and its key from files.
type certificateFiles struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	// modTimes are the modification times of the files when they were loaded.
	modTimes [2]time.Time
}

// get returns the current certificate. If the files cannot be loaded, for example while they
// are being replaced, it returns the previous one.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.modTimes != f.statFiles() {
		if err := f.load(); err != nil {
			klog.Background().Error(err, "Reloading the certificate failed, still using the previous one")
		}
	}
	return f.current, nil
}

// load loads the files.
func (f *certificateFiles) load() error {
	modTimes := f.statFiles()
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", f.cert, f.key, err)
	}
	f.current, f.modTimes = &pair, modTimes
	return nil
}

// statFiles returns the modification times of the files, zero for a missing file.
func (f *certificateFiles) statFiles() [2]time.Time {
	var times [2]time.Time
	for i, name := range []string{f.cert, f.key} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}
