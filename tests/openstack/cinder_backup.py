"""Cinder's own backup drivers, driven one order at a time. Runs with the Python of the services' environment.

    cinder_backup.py CONFIG_FILE

Its orders (`orders.py`):

    {"do": "open", "driver": "swift", "options": {...}, "user": ID, "project": ID, "token": T, "url": U}
    {"do": "volume", "name": N}                             an id
    {"do": "backup", "volume": ID, "file": PATH, "parent": ID or null}
    {"do": "restore", "backup": ID, "volume": ID, "file": PATH, "new": true or false}
    {"do": "delete", "backup": ID}

Around the driver there is what Cinder's backup manager gives it: the database, a request context, records of volumes and
backups. The volume is a file.
"""

import sys

from oslo_config import cfg

import cinder.common.config  # noqa: F401  registers the options
from cinder import context, objects, rpc
from cinder.backup.drivers import s3, swift
from cinder.db import api as db
from cinder.db import migration
from cinder.objects import fields

from orders import obey

CONF = cfg.CONF
DRIVERS = {"swift": swift.SwiftBackupDriver, "s3": s3.S3BackupDriver}


class Backups:
    """One driver at a time; the records stay when the driver changes."""

    def __init__(self):
        self.context = None
        self.driver = None
        self.set = []

    def open(self, driver, options, user, project, token, url):
        for name in self.set:
            CONF.clear_override(name)
        for name, value in options.items():
            CONF.set_override(name, value)
        self.set = list(options)
        # As the API fills it from the caller's token.
        catalogue = [{"type": "object-store", "name": "swift", "endpoints": [{"publicURL": url, "region": "RegionOne"}]}]
        self.context = context.RequestContext(
            user_id=user, project_id=project, auth_token=token, service_catalog=catalogue, is_admin=True
        )
        self.driver = DRIVERS[driver](self.context)
        self.driver.check_for_setup_error()

    def volume(self, name):
        what = dict(display_name=name, size=1, host="here", status="available", attach_status="detached")
        what.update(user_id=self.context.user_id, project_id=self.context.project_id, metadata={"of": "a story"})
        what["volume_type_id"] = db.volume_type_get_by_name(self.context, "__DEFAULT__")["id"]
        return db.volume_create(self.context, what)["id"]

    def backup(self, volume, file, parent):
        record = objects.Backup(
            self.context,
            user_id=self.context.user_id,
            project_id=self.context.project_id,
            volume_id=volume,
            parent_id=parent,
            status=fields.BackupStatus.CREATING,
            size=1,
            host="here",
            display_name="a story",
        )
        record.create()
        with open(file, "rb") as volume_file:
            self.driver.backup(record, volume_file)
        record.status = fields.BackupStatus.AVAILABLE
        record.save()
        return {"id": record.id, "container": record.container, "objects": record.object_count}

    def restore(self, backup, volume, file, new):
        record = objects.Backup.get_by_id(self.context, backup)
        record.status = fields.BackupStatus.RESTORING
        record.save()
        with open(file, "r+b") as volume_file:
            self.driver.restore(record, volume, volume_file, new)
        record.status = fields.BackupStatus.AVAILABLE
        record.save()

    def delete(self, backup):
        record = objects.Backup.get_by_id(self.context, backup)
        self.driver.delete_backup(record)
        record.destroy()


def main():
    CONF(["--config-file", sys.argv[1]], project="cinder")
    objects.register_all()
    rpc.init(CONF)
    migration.db_sync()
    obey(Backups)


if __name__ == "__main__":
    main()
