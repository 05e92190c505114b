"""What breaks a service, and which alerts are to fire then, and which alone."""

from __future__ import annotations

from tests.integration.monitoring.scenes import (
    BACKUP,
    BROKER,
    CERTIFICATE,
    DROPPED,
    END,
    FAILED,
    FREE,
    GIB,
    HEALTHY,
    IN_SEPARATE,
    NO_MEMORY,
    OUR_FAULT,
    REFUSED,
    SEPARATES,
    SITE,
    SUCCEEDED,
    THEIR_FAULT,
    UNREAD,
    Scene,
    rising,
    steady,
    until,
)

LOUD: list[Scene] = [
    Scene("the only process is gone", 60, {"AudioServiceDown"}, {"up{}": until(50, 1, 0)}),
    Scene("Prometheus has no target at all", 20, {"AudioServiceDown"}, {"up{}": None, BACKUP: None}),
    Scene("one of two processes is gone", 60, {"AudioReplicaDown"}, {'up{instance="b"}': until(50, 1, 0)}),
    Scene(
        "a process that starts every two minutes",
        60,
        {"AudioRestarting"},
        {
            "process_start_time_seconds{}": "1000+0x30 "
            + " ".join(f"{2000 + 120 * n} {2000 + 120 * n}" for n in range(20)),
        },
    ),
    Scene(
        "the database is gone",
        60,
        {"AudioDatabaseDown", "AudioNotAccepting"},
        {
            "audio_database_up{}": until(40, 1, 0),
            'audio_admission_closed{reason="database"}': until(40, 0, 1),
            **{
                name: f"{values.split('x')[0]}x39"
                for name, values in HEALTHY.items()
                if values
                and name.startswith(
                    (
                        "audio_queue",
                        "audio_jobs",
                        "audio_job_",
                        "audio_stage",
                        "audio_workers",
                        "audio_processing",
                        "audio_attempts",
                    )
                )
            },
        },
    ),
    Scene("memory is too short to begin", 60, {"AudioNotAccepting"}, {NO_MEMORY: until(45, 0, 1)}),
    Scene("the site is not reached", 60, {"AudioSiteDown"}, {SITE: until(55, 1, 0), CERTIFICATE: "5e6+0x54"}),
    Scene(
        "a certificate is good for ten days",
        90,
        {"AudioCertificateExpiring"},
        {CERTIFICATE: steady(10 * 86400)},
    ),
    Scene(
        "a certificate is good for a day",
        90,
        {"AudioUnattended", "AudioCertificateExpiring", "AudioCertificateEnds"},
        {CERTIFICATE: steady(86400)},
    ),
    Scene("Redis is gone", 56, {"AudioBrokerDown"}, {BROKER: until(50, 1, 0), UNREAD: "3+0x49"}),
    Scene(
        "nobody listens to a queue",
        60,
        {"AudioWakesUnread"},
        {BROKER: steady(1), UNREAD: f"0+0x39 1+1{END}", 'audio_broker_queue_depth{queue="cpu"}': steady(0)},
    ),
    Scene("the workers are gone", 60, {"AudioNoWorker"}, {"audio_workers{}": until(55, 1, 0)}),
    Scene(
        "jobs wait and none runs",
        60,
        {"AudioQueueStuck"},
        {
            "audio_queue_depth{}": until(45, 0, 1),
            "audio_queue_oldest_seconds{}": f"0+0x44 0+60{END}",
        },
    ),
    Scene(
        "jobs wait and the one that runs never ends",
        60,
        {"AudioQueueStuck", "AudioJobSlow", "AudioStageSlow"},
        {
            "audio_queue_depth{}": steady(1),
            "audio_queue_oldest_seconds{}": rising(60),
            "audio_jobs_in_progress{}": steady(1),
            "audio_job_oldest_seconds{}": rising(60),
            SEPARATES: rising(60),
        },
    ),
    Scene(
        "jobs wait for three hours though others end",
        40,
        {"AudioQueueSlow"},
        {
            "audio_queue_depth{}": steady(50),
            "audio_queue_oldest_seconds{}": f"7000+60{END}",
            "audio_jobs_in_progress{}": steady(1),
            SUCCEEDED: rising(0.2),
        },
    ),
    Scene(
        "as many jobs wait as may",
        60,
        {"AudioQueueFull"},
        {
            "audio_queue_depth{}": until(40, 0, 100),
            "audio_jobs_in_progress{}": steady(1),
            SUCCEEDED: rising(1),
        },
    ),
    Scene(
        "workers die at three jobs",
        60,
        {"AudioWorkersDie"},
        {"audio_attempts_abandoned_total{}": f"0+0x40 1 2 3+0{END}"},
    ),
    Scene(
        "a job of eleven minutes",
        15,
        {"AudioJobSlow"},
        {"audio_job_oldest_seconds{}": f"0+0x1 0+60{END}", "audio_jobs_in_progress{}": steady(1)},
    ),
    Scene(
        "a stage of six minutes",
        9,
        {"AudioStageSlow"},
        {
            "audio_job_oldest_seconds{}": f"0+0x1 0+60{END}",
            SEPARATES: f"0+0x1 0+60{END}",
            "audio_jobs_in_progress{}": steady(1),
        },
    ),
    Scene(
        "an eighth of the jobs fail, in several stages",
        120,
        {"AudioJobsFail", "AudioErrorBudgetBurnsSlowly"},
        {
            SUCCEEDED: rising(0.7),
            FAILED: rising(0.1),
            OUR_FAULT: rising(0.1),
            IN_SEPARATE: rising(0.05),
            'audio_stage_faults_total{stage="encode"}': rising(0.05),
        },
    ),
    Scene(
        "nearly all jobs fail in one stage",
        60,
        {
            "AudioUnattended",
            "AudioJobsFail",
            "AudioMostJobsFail",
            "AudioStageFails",
            "AudioErrorBudgetBurnsFast",
            "AudioErrorBudgetBurnsSlowly",
        },
        {
            SUCCEEDED: rising(0.1),
            FAILED: rising(1),
            OUR_FAULT: rising(1),
            IN_SEPARATE: rising(1),
        },
    ),
    Scene(
        "a stage fails in one of fifteen jobs",
        32,
        {"AudioStageFails"},
        {
            SUCCEEDED: rising(2),
            FAILED: f"0+0x15 1 2 3 4+0{END}",
            OUR_FAULT: f"0+0x15 1 2 3 4+0{END}",
            IN_SEPARATE: f"0+0x15 1 2 3 4+0{END}",
        },
    ),
    Scene(
        "ten recordings of ten are no audio",
        60,
        {"AudioRecordingsRefused"},
        {FAILED: until(40, 0, 10), THEIR_FAULT: until(40, 0, 10)},
    ),
    Scene("a disk has a twentieth left", 60, {"AudioDiskLow"}, {FREE: until(50, 50 * GIB, 5 * GIB)}),
    Scene(
        "a disk has a fiftieth left",
        60,
        {"AudioDiskLow", "AudioDiskFull"},
        {FREE: until(50, 50 * GIB, 2 * GIB)},
    ),
    Scene(
        "memory is used up",
        60,
        {"AudioMemoryHigh"},
        {"audio_memory_available_bytes{}": until(50, 4 * GIB, 0.5 * GIB)},
    ),
    Scene(
        "the processors are busy and no job runs",
        60,
        {"AudioCpuSaturated"},
        {"audio_cpu_seconds_total{}": rising(119)},
    ),
    Scene(
        "the processors are busy and jobs wait for long",
        60,
        {"AudioCpuSaturated"},
        {
            "audio_cpu_seconds_total{}": rising(119),
            "audio_jobs_in_progress{}": steady(1),
            "audio_queue_depth{}": steady(9),
            "audio_queue_oldest_seconds{}": steady(2000),
            SUCCEEDED: rising(0.5),
        },
    ),
    Scene("a backup of the day before yesterday", 27 * 60, {"AudioBackupStale"}, step=15),
    Scene("a service of two days without a backup", 27 * 60, {"AudioBackupMissing"}, {BACKUP: None}, step=15),
    Scene("messages are given up", 60, {"AudioNotificationsDropped"}, {DROPPED: until(50, 0, 1)}),
    Scene(
        "a fifth of the requests meets an error",
        60,
        {"AudioUnattended", "AudioErrorBudgetBurnsFast", "AudioErrorBudgetBurnsSlowly"},
        {
            REFUSED: rising(2.5),
        },
    ),
    Scene(
        "one request of twenty meets an error", 60, {"AudioErrorBudgetBurnsSlowly"}, {REFUSED: rising(0.5)}
    ),
    Scene(
        "a critical alert is left alone",
        60,
        {"AudioNoWorker", "AudioUnattended"},
        {"audio_workers{}": until(20, 1, 0)},
    ),
]
