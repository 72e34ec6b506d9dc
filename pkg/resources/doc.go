// Package resources renders a Ray: a Ray goes in, the desired Service and Deployments come out. Its
// functions are pure: they use no client, cache or clock, and never change their arguments.
package resources
