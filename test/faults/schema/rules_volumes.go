package schema

const claim = `{"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}`

// volumeRules are about volumes.
var volumeRules = []rule{
	{at: `volumes/name`, with: `{"emptyDir": {}}`},
	{at: `azureDisk`, with: `{"diskURI": "https://a"}`},
	picked(`azureDisk/cachingMode`, "None", "ReadOnly"),
	picked(`azureDisk/diskURI`, "https://b"),
	picked(`azureDisk/kind`, "Dedicated", "Shared"),
	picked(`(defaultMode|items/mode|emptyDir/mode)`, 511),
	{at: `volumes/configMap`, with: `{"name": "a"}`},
	{at: `sources/(configMap|secret)`, with: `{"name": "a"}`},
	{at: `volumes/secret`, with: `{"secretName": "a"}`},
	{at: `downwardAPI/items/(path|mode|user)`, with: `{"fieldRef": {"fieldPath": "metadata.name"}}`},
	{at: `downwardAPI/items/fieldRef`, with: `{"fieldPath": "metadata.name"}`},
	picked(`downwardAPI/items/fieldRef/fieldPath`, "metadata.namespace"),
	picked(`emptyDir/medium`, "Memory"),

	{at: `volumeClaimTemplate`, with: `{"spec": ` + claim + `}`},
	{at: `volumeClaimTemplate/spec`, with: claim},
	{at: `volumeClaimTemplate/spec/resources/(limits|requests)`, key: "storage"},
	picked(`volumeClaimTemplate/spec/accessModes`, "ReadWriteMany"),
	{at: `(dataSource|dataSourceRef)`, with: `{"kind": "PersistentVolumeClaim"}`},
	{at: `(dataSource|dataSourceRef)/apiGroup`, values: []any{"snapshot.storage.k8s.io"}, with: `{"kind": "VolumeSnapshot"}`},
	picked(`(dataSource|dataSourceRef)/kind`, "PersistentVolumeClaim"),
	picked(`volumeMode`, "Block", "Filesystem"),

	{at: `fc/(lun|readOnly|fsType|targetWWNs)`, with: `{"targetWWNs": ["a"], "lun": 1}`},
	picked(`fc/lun`, 255),
	picked(`hostPath/type`, "Directory"),
	{at: `volumes/image/pullPolicy`, values: []any{"Always", "Never"}, with: `{"reference": "a"}`},
	{at: `iscsi`, with: `{"iqn": "iqn.2001-04.com.example:a"}`},
	picked(`iscsi/(iqn|initiatorName)`, "iqn.2001-04.com.example:b"),
	{at: `iscsi/(chapAuthDiscovery|chapAuthSession)`, with: `{"secretRef": {"name": "a"}}`},
	picked(`iscsi/lun`, 255),
	{at: `nfs`, with: `{"path": "/a"}`},
	picked(`nfs/path`, "/b"),

	{at: `clusterTrustBundle/(path|optional|user)`, with: `{"name": "a"}`},
	{at: `clusterTrustBundle/labelSelector`, beside: `{"signerName": "a.com/b"}`},
	{at: `clusterTrustBundle/signerName`, values: []any{"a.com/b"}},
	{at: `podCertificate`, with: `{"signerName": "a.com/b", "keyType": "ED25519"}`},
	picked(`podCertificate/signerName`, "a.com/c"),
	picked(`podCertificate/keyType`, "RSA3072"),
	picked(`podCertificate/maxExpirationSeconds`, 3600, 7862400),
	{at: `podCertificate/(keyType|signerName|maxExpirationSeconds|user)`, with: `{"credentialBundlePath": "a"}`},
	{at: `podCertificate/userAnnotations`, key: "a.com/b", with: `{"credentialBundlePath": "a"}`},
	picked(`serviceAccountToken/expirationSeconds`, 600),

	{at: `quobyte`, with: `{"registry": "a:1"}`},
	picked(`quobyte/registry`, "b:2"),
	{at: `(scaleIO|storageos)`, with: `{"volumeName": "a"}`},
}
