{{/* The agents' configuration, and what values.schema.json cannot say about it. */}}

{{- define "apim-failover-agent.config" -}}
probeRegion: {{ .Values.probeRegion }}
{{- with .Values.controller.endpoints }}
controllers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.controller.replicas }}
controllerReplicas:
  {{- toYaml . | nindent 2 }}
{{- end }}
tls:
  certificateFile: /run/apim-failover/tls/tls.crt
  keyFile: /run/apim-failover/tls/tls.key
  caFile: /run/apim-failover/tls/ca.crt
  {{- with .Values.controller.identity }}
  controllerIdentity: {{ . | quote }}
  {{- end }}
{{- with .Values.allowedHosts }}
allowedHosts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resolverServers }}
resolver:
  servers:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- if include "apim-failover-agent.hasProbeCa" . }}
caFile: /run/apim-failover/probe-ca/ca.crt
{{- end }}
metricsAddress: 0.0.0.0:9465
assignmentFile: /var/lib/apim-failover-agent/assignment
{{- end -}}

{{- define "apim-failover-agent.hasProbeCa" -}}
{{- if or .Values.probeCa.existingConfigMap .Values.probeCa.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "apim-failover-agent.validate" -}}
{{- if not .Values.probeRegion -}}
{{- fail "probeRegion: found nothing; set the region from which these agents probe, as in their certificate, for example westeurope" -}}
{{- end -}}
{{- if not (or .Values.controller.endpoints .Values.controller.replicas) -}}
{{- fail "controller.endpoints: found none; set the controllers' addresses HOST:PORT, or controller.replicas for a controller in this cluster" -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "existingSecret") (not .Values.tls.existingSecret) -}}
{{- fail "tls.existingSecret: found nothing; name a Secret with tls.crt, tls.key and ca.crt that the controller's cluster has issued, or set tls.mode to certManager" -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.certManager.issuerRef) -}}
{{- fail "tls.certManager.issuerRef: found nothing; name the issuer that the controllers trust" -}}
{{- end -}}
{{- if and .Values.probeCa.existingConfigMap .Values.probeCa.existingSecret -}}
{{- fail "probeCa.existingConfigMap and probeCa.existingSecret: found both; set one of them" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (not (toString .Values.podDisruptionBudget.minAvailable)) (not (toString .Values.podDisruptionBudget.maxUnavailable)) -}}
{{- fail "podDisruptionBudget: found neither maxUnavailable nor minAvailable; set one" -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover-agent.volumes" -}}
- name: config
  configMap:
    name: {{ include "apim-failover-agent.fullname" . }}
- name: tls
  secret:
    secretName: {{ include "apim-failover-agent.tlsSecret" . }}
    defaultMode: 0440
# Private copies of keys while gRPC reads them: never on a disk.
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
# The last assignment: probing goes on after a restart although no controller answers.
- name: state
  emptyDir:
    sizeLimit: 16Mi
{{- if include "apim-failover-agent.hasProbeCa" . }}
- name: probe-ca
  {{- if .Values.probeCa.existingSecret }}
  secret:
    secretName: {{ .Values.probeCa.existingSecret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ .Values.probeCa.existingConfigMap }}
  {{- end }}
    items:
      - key: {{ .Values.probeCa.key }}
        path: ca.crt
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "apim-failover-agent.volumeMounts" -}}
- name: config
  mountPath: /etc/apim-failover-agent
  readOnly: true
- name: tls
  mountPath: /run/apim-failover/tls
  readOnly: true
- name: tmp
  mountPath: /tmp
- name: state
  mountPath: /var/lib/apim-failover-agent
{{- if include "apim-failover-agent.hasProbeCa" . }}
- name: probe-ca
  mountPath: /run/apim-failover/probe-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
