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

// Command probe runs in Pods of the tests. It reports what it sees, in responses to HTTP requests to
// /FUNCTION?ARGUMENT, and when kubectl exec runs it with the function and its argument.
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
	"time"
)

var functions = map[string]func(argument string) (string, error){
	"hostname":   func(string) (string, error) { return os.Hostname() },
	"resolve":    resolve,
	"get":        func(url string) (string, error) { return get(url, nil, "") },
	"api-server": func(string) (string, error) { return getFromAPIServer() },
	"metrics":    getMetrics,
}

func main() {
	if len(os.Args) == 3 { // run by kubectl exec
		text, err := functions[os.Args[1]](os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(text)
		return
	}
	for name, f := range functions {
		http.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			text, err := f(r.URL.RawQuery)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			io.WriteString(w, text)
		})
	}
	log.Print("listening")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func resolve(name string) (string, error) {
	addresses, err := net.LookupHost(name)
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && dns.IsNotFound {
		return "not found", nil
	}
	return fmt.Sprint(addresses), err
}

// secrets has the token of the Pod, and the certificate of the API server's authority.
const secrets = "/var/run/secrets/kubernetes.io/serviceaccount/"

// getFromAPIServer reads the version of the API server, as clients in Pods do: by the name
// of the Service, with the token and the certificate of the Pod.
func getFromAPIServer() (string, error) {
	ca, err := os.ReadFile(secrets + "ca.crt")
	if err != nil {
		return "", err
	}
	token, err := os.ReadFile(secrets + "token")
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return "", errors.New("ca.crt has no certificate")
	}
	return get("https://kubernetes.default.svc/version", &tls.Config{RootCAs: roots}, string(token))
}

// getMetrics gets a URL as Prometheus does: with the token of the Pod, and any certificate.
func getMetrics(url string) (string, error) {
	token, err := os.ReadFile(secrets + "token")
	if err != nil {
		return "", err
	}
	return get(url, &tls.Config{InsecureSkipVerify: true}, string(token))
}

// get gets a URL on a new connection.
func get(url string, config *tls.Config, token string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
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
