"""https://fastapi.tiangolo.com/advanced/sub-applications/, the mounted app with the task of
https://fastapi.tiangolo.com/tutorial/background-tasks/
"""

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
subapi = FastAPI()


@app.get("/app")
def read_main() -> dict[str, str]:
    return {"message": "Hello World from main app"}


@subapi.get("/sub")
def read_sub() -> dict[str, str]:
    return {"message": "Hello World from sub API"}


def write_notification(email: str, message: str = "") -> None:
    with open("log.txt", mode="w") as email_file:
        email_file.write(f"notification for {email}: {message}")


@subapi.post("/send-notification/{email}")
def send_notification(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(write_notification, email, message="some notification")
    return {"message": "Notification sent in the background"}


app.mount("/subapi", subapi)
