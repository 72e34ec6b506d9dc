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

import "regexp"

// rule is a pattern that text must not contain, and the terms to use instead.
type rule struct {
	pattern *regexp.Regexp
	advice  string
}

// word returns a rule for a pattern of whole words, in upper or lower case.
func word(pattern, advice string) rule {
	return rule{regexp.MustCompile(`(?i)\b(` + pattern + `)\b`), advice}
}

// phrase returns a rule for a pattern that depends on case or punctuation.
func phrase(pattern, advice string) rule {
	return rule{regexp.MustCompile(pattern), advice}
}

// rules are the patterns. Terms with a common other meaning are matched only in a context that
// excludes it.
var rules = []rule{
	// Terms.
	word(`mend(s|ed|ing|er)?`, "use reconcile, update or revert"),
	word(`put(s|ting)?( (it|them|this|that))? (right|back)`, "use reconcile, update or revert"),
	word(`undo(es|ing|ne)?|undid`, "use revert"),
	word(`somebody|someone else|somebody's`, "name the client or controller, or use not controlled by this Ray"),
	word(`foreign(er|ers)?`, "use another client, external, or not controlled by this Ray"),
	word(`(keep(s|ing)?|kept) ((a|an|the|every|each|all|its|their|no) )?Rays?|Rays? (is|are|be|was|were) kept`, "use reconcile or manage"),
	word(`serves? (a|the|every|each|all) Rays?|Rays? (is|are|be) served`, "use reconcile or manage"),
	word(`told|tells?|telling`, "use report, show, set or record an event"),
	word(`news`, "use new problem or event"),
	word(`words`, "use message, text or terms"),
	word(`settle[sd]?|settling|settlement`, "use normalize, or reach a steady state"),
	word(`(its|their|whose|next|a|another's) turns?|turns? (of|to) writ(e|ing)`, "use rate limit or status update"),
	word(`yield(s|ed|ing)?`, "use accept the value set by admission"),
	word(`insist(s|ed|ing|ence)?`, "use accept the value set by admission"),
	word(`(has|have|had|gets?|got|having) (its|their|his|her) way`, "use accept the value set by admission"),
	word(`err(ors?)? behind|(is|are|was|were|be|being|lags?|lagged|lagging|falls?|fell|far|still) behind`, "use stale cache"),
	word(`wanted`, "use desired, or want in tests"),
	word(`names?( (is|are|was|were|be|been|already))* taken|taken names?`, "use already exists"),
	word(`(try|tries|tried|trying)( (it|them|that|this))? again`, "use retry or requeue"),
	word(`(come|comes|came|coming) back`, "use requeue, return or be created again"),
	word(`on purpose`, "use mutant, deliberate, or leave it out"),
	word(`scenes?`, "use setup or case"),
	word(`play(s|ed|ing)?`, "use run or step"),
	word(`(an|each|every|the first|the second|the next|the last) acts?`, "use step"),
	word(`judg(e|es|ed|ing|ement|ements|ment|ments)`, "use check, oracle or decide"),
	word(`lanes?`, "use worker, queue or step"),
	word(`patience|patient|patiently`, "use timeout"),
	word(`ends? of the (operator|controller|process)`, "use shutdown or exit"),
	word(`at rest`, "use steady state"),

	// Phrases to avoid.
	word(`whoever|whomever`, "name the user, client or controller"),
	word(`whose`, "use with, of which, or another sentence"),
	word(`alone`, "use only"),
	word(`for want of`, "use without or because of missing"),
	word(`borne`, "use tolerated"),
	word(`affairs?`, "name what it manages"),
	word(`how things (stand|are)`, "use observed state or status"),
	phrase(`\b(not|never|nothing|nobody|cannot|n't) also\b|, also (if|when|where)\b`, "use even"),
	phrase(`(^|[.!?]\s+|//\s+|#\s+)That [A-Z]\w+s (cannot|can|could|are|were|have|do)\b`, "use a noun as the subject"),
	phrase(`(^|[.;:]\s+|//\s+|^#\s+)What (is|are|was|were|has|have|can|cannot|does|did|must|may|cannot) [^?]*\.`, "use a noun as the subject"),
	phrase(`\bof the (operator|controller|API server|user|Ray)'s([.,;:)]|\s*$)`, "use of the operator"),
	phrase(`\b[Ss]o it is[.,;]`, "leave it out"),
}

// allowed are quotes and terms of Kubernetes and Go that contain a pattern.
var allowed = []*regexp.Regexp{
	regexp.MustCompile(`please apply your changes to the latest version and try again`), // a conflict
	regexp.MustCompile(`kubectl rollout undo`),
	regexp.MustCompile(`(?i)encrypt(ed|ion|s)?( \w+)? at rest`),
	regexp.MustCompile(`\byield(\(| func\()`), // an iterator
	regexp.MustCompile(`(?i)\bstand-alone\b`),
}
