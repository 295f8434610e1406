{{/* What the controller's pod and the test's pod share. */}}

{{- define "apim-failover.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "apim-failover.volumes" -}}
- name: config
  {{- if .Values.config.existingSecret }}
  secret:
    secretName: {{ .Values.config.existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .Values.config.key }}
        path: config.yaml
  {{- else }}
  configMap:
    name: {{ default (include "apim-failover.fullname" .) .Values.config.existingConfigMap }}
    items:
      - key: {{ if .Values.config.existingConfigMap }}{{ .Values.config.key }}{{ else }}config.yaml{{ end }}
        path: config.yaml
  {{- end }}
- name: tls
  secret:
    secretName: {{ include "apim-failover.tlsSecret" . }}
    defaultMode: 0440
# Private copies of keys while gRPC reads them: never on a disk.
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
{{- if and (eq .Values.azure.auth "clientSecret") (not .Values.emulator.enabled) }}
- name: azure
  secret:
    secretName: {{ .Values.azure.clientSecret.existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .Values.azure.clientSecret.key }}
        path: {{ .Values.azure.clientSecret.key }}
{{- else if and (eq .Values.azure.auth "workloadIdentity") .Values.azure.workloadIdentity.projectToken (not .Values.emulator.enabled) }}
- name: azure
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: api://AzureADTokenExchange
          expirationSeconds: {{ int .Values.azure.workloadIdentity.tokenExpirationSeconds }}
          path: azure-identity-token
{{- end }}
{{- range $name, $secret := .Values.secretMounts }}
- name: secret-{{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "apim-failover.volumeMounts" -}}
- name: config
  mountPath: /etc/apim-failover
  readOnly: true
- name: tls
  mountPath: /run/apim-failover/tls
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if and (not .Values.emulator.enabled) (or (eq .Values.azure.auth "clientSecret") (and (eq .Values.azure.auth "workloadIdentity") .Values.azure.workloadIdentity.projectToken)) }}
- name: azure
  mountPath: /run/apim-failover/azure
  readOnly: true
{{- end }}
{{- range $name, $secret := .Values.secretMounts }}
- name: secret-{{ $name }}
  mountPath: /run/apim-failover/secrets/{{ $name }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The token for the API server, where a program looks for it; the ServiceAccount mounts none by itself. */}}
{{- define "apim-failover.kubeApiVolume" -}}
- name: kube-api-access
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          expirationSeconds: {{ int .Values.kubeApiToken.expirationSeconds }}
          path: token
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end -}}

{{- define "apim-failover.workloadIdentityLabel" -}}
{{- if and (eq .Values.azure.auth "workloadIdentity") (not .Values.azure.workloadIdentity.projectToken) (not .Values.emulator.enabled) -}}
azure.workload.identity/use: "true"
{{- end -}}
{{- end -}}
