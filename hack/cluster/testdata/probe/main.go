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

// Command probe runs in Pods of the tests. It responds to HTTP requests with what it sees.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) > 1 { // run by kubectl exec
		fmt.Println(os.Args[1:])
		return
	}
	handle("/hostname", func(string) (string, error) { return os.Hostname() })
	handle("/resolve", func(name string) (string, error) {
		addresses, err := net.LookupHost(name)
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) && dns.IsNotFound {
			return "not found", nil
		}
		return fmt.Sprint(addresses), err
	})
	handle("/get", func(url string) (string, error) { return get(http.DefaultClient, url, "") })
	handle("/api-server", func(string) (string, error) { return getFromAPIServer() })
	log.Print("listening")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

// handle registers a function that is called with the query of the request.
func handle(path string, f func(query string) (string, error)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		text, err := f(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, text)
	})
}

// getFromAPIServer reads the version of the API server, as clients in Pods do: by the name
// of the Service, with the token and the certificate of the Pod.
func getFromAPIServer() (string, error) {
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
	ca, err := os.ReadFile(dir + "ca.crt")
	if err != nil {
		return "", err
	}
	token, err := os.ReadFile(dir + "token")
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return "", errors.New("ca.crt has no certificate")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return get(client, "https://kubernetes.default.svc/version", string(token))
}

func get(client *http.Client, url, token string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}
