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

package podcause

import "regexp"

// imageReasons are the reasons of a container that waits for its image.
var imageReasons = map[string]bool{
	"ErrImagePull":              true,
	"ImagePullBackOff":          true,
	"ErrImageNeverPull":         true,
	"ImageInspectError":         true,
	"InvalidImageName":          true,
	"RegistryUnavailable":       true,
	"SignatureValidationFailed": true,
}

// The parts of a message that repeat the name of the image, or say which component reports the error.
// Between two attempts the kubelet puts the first ones before the message of the last attempt.
var (
	backOff = regexp.MustCompile(
		`^Back-off pulling image "[^"]*"(: )?((ErrImagePull|RegistryUnavailable|SignatureValidationFailed)(: |$))?`)
	rpcError  = regexp.MustCompile(`rpc error: code = \w+ desc = |Error response from daemon: `)
	pullSteps = regexp.MustCompile(`^(failed to pull and unpack image "[^"]*": )?(failed to resolve reference "[^"]*": )?`)
)

// image returns why the container's image cannot be pulled.
func (c container) image() cause {
	waiting := c.status.State.Waiting
	if waiting == nil || !imageReasons[waiting.Reason] {
		return cause{}
	}
	message := backOff.ReplaceAllString(waiting.Message, "")
	message = rpcError.ReplaceAllString(message, "")
	message = pullSteps.ReplaceAllString(message, "")

	found := c.cause("cannot pull image " + quote(c.spec.Image))
	found.detail = clean(c.pod, message)
	return found
}
