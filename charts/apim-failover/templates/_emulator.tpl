{{/* The emulated Azure and its agents: beside the controller in one pod, since the emulated gateways have loopback addresses. */}}

{{- define "apim-failover.emulatorVolumes" -}}
- name: emulator
  configMap:
    name: {{ include "apim-failover.fullname" . }}.emulator
- name: emulator-run
  emptyDir:
    sizeLimit: 64Mi
{{- range $region := values (include "apim-failover.emulatorWorld" . | fromJson).probeRegions | sortAlpha }}
- name: tls-{{ $region }}
  secret:
    secretName: {{ include "apim-failover.emulatorAgentSecret" (list $ $region) }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "apim-failover.emulatorMounts" -}}
- name: emulator
  mountPath: /etc/azure-emulator
  readOnly: true
- name: emulator-run
  mountPath: /run/azure-emulator
{{- end -}}

{{/* A sidecar: it runs before the controller starts and until after its end. */}}
{{- define "apim-failover.emulatorContainer" -}}
- name: azure-emulator
  image: {{ include "apim-failover.image" (list . .Values.emulator.image) | quote }}
  imagePullPolicy: {{ .Values.emulator.image.pullPolicy }}
  restartPolicy: Always
  command: [azure-emulator]
  args:
    - --world
    - /etc/azure-emulator/world.json
    - --directory
    - /run/azure-emulator
    - --arm
    - 127.0.0.1:8443
    - --blob
    - 127.0.0.1:8444
    - --imds
    - 127.0.0.1:8085
    - --dns
    - 127.0.0.1:5353
    - --control
    - 0.0.0.0:8080
    - --gateway-port
    - "9443"
  ports:
    - name: emulator
      containerPort: 8080
      protocol: TCP
  startupProbe:
    httpGet:
      path: /_emulator/status
      port: emulator
    periodSeconds: 1
    failureThreshold: 60
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml .Values.emulator.resources | nindent 4 }}
  volumeMounts:
    {{- include "apim-failover.emulatorMounts" . | nindent 4 }}
    - name: tmp
      mountPath: /tmp
{{- end -}}

{{- define "apim-failover.emulatorAgents" -}}
{{- range $region := values (include "apim-failover.emulatorWorld" . | fromJson).probeRegions | sortAlpha }}
- name: agent-{{ $region }}
  image: {{ include "apim-failover.image" (list $ $.Values.emulator.agentImage) | quote }}
  imagePullPolicy: {{ $.Values.emulator.agentImage.pullPolicy }}
  command: [failover-agent]
  args: [--config, /etc/azure-emulator/agent-{{ $region }}.yaml]
  securityContext:
    {{- toYaml $.Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml $.Values.emulator.resources | nindent 4 }}
  volumeMounts:
    {{- include "apim-failover.emulatorMounts" $ | nindent 4 }}
    - name: tls-{{ $region }}
      mountPath: /run/apim-failover/tls
      readOnly: true
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end -}}
