// Package resources says what a Ray becomes: a Ray goes in, the wanted Service and
// Deployments come out. Its functions are pure. They know no client, no cache and no
// clock, emit nothing, and never change their arguments.
package resources
