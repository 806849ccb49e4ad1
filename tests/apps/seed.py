"""The code of the seed document, with minimal fixes to make it run. The example app is compared with it.

Fixed: imports, the router ``app08`` (missing in the document), one app for both parts, and files in the current
folder.
"""

import os
from typing import Optional

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI

app = FastAPI()
app08 = APIRouter()

file_path = os.path.abspath("./README.md")


def bg_task(framework: str):
    """已续写的形式用 utf-8 编码写入README.md"""
    with open(file_path, mode="a", encoding="utf-8") as f:
        f.write(f"\n## {framework} 框架精讲")


@app08.post("/background_tasks")
async def run_bg_task(framework: str, background_tasks: BackgroundTasks):
    """
    :param framework: 被调用的后台任务函数的参数
    :param background_tasks: FastAPI.BackgroundTasks
    :return:
    """
    background_tasks.add_task(bg_task, framework)
    return {"message": "任务已在后台运行"}


def continue_write_readme(background_tasks: BackgroundTasks, q: Optional[str] = None):
    if q:
        background_tasks.add_task(
            bg_task, "\n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n"
        )
    return q


@app08.post("/dependency/background_tasks")
async def dependency_run_bg_task(q: str = Depends(continue_write_readme)):
    """用依赖注入的方式导入后台任务"""
    if q:
        return {"message": "README.md更新成功"}


def write_log(message: str):
    with open("log.txt", mode="a") as log:
        log.write(message)


def get_query(background_tasks: BackgroundTasks, q: str | None = None):
    if q:
        message = f"found query: {q}\n"
        background_tasks.add_task(write_log, message)
    return q


@app.post("/send-notification/{email}")
async def send_notification(email: str, background_tasks: BackgroundTasks, q: str = Depends(get_query)):
    message = f"message to {email}\n"
    background_tasks.add_task(write_log, message)
    return {"message": "Message sent"}


app.include_router(app08)
